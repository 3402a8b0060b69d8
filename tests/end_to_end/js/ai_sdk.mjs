// What the Vercel AI SDK makes of the gate: `node ai_sdk.mjs openai|ollama text|stream|object|tool|image MODEL`, told in
// one line of JSON. The address and the key come by GATE_URL and GATE_KEY, so that no key shows in a list of processes.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { createOllama } from 'ollama-ai-provider-v2';
import { z } from 'zod';

globalThis.AI_SDK_LOG_WARNINGS = false;

const [, , api, what, name] = process.argv;
const { GATE_URL: url, GATE_KEY: key } = process.env;
const provider = {
  openai: () => createOpenAICompatible({
    name: 'gate', baseURL: `${url}/v1`, apiKey: key, includeUsage: true, supportsStructuredOutputs: true,
  }),
  ollama: () => createOllama({ baseURL: `${url}/api`, headers: { Authorization: `Bearer ${key}` } }),
}[api]();

const common = { model: provider(name), maxRetries: 0 };
// The provider for Ollama puts the usual names of these two where Ollama does not look.
const most = (tokens) => ({
  ...common,
  temperature: 0,
  maxOutputTokens: tokens,
  ...(api === 'ollama' && { providerOptions: { ollama: { options: { num_predict: tokens, temperature: 0 } } } }),
});
const short = { ...most(6), prompt: 'Say hello.' };
const counts = ({ inputTokens, outputTokens }) => [inputTokens, outputTokens];

const acts = {
  async text() {
    const { text, usage } = await generateText(short);
    return { text, usage: counts(usage) };
  },

  async stream() {
    const result = streamText(short);
    const pieces = [];
    for await (const piece of result.textStream) pieces.push(piece);
    return { pieces, usage: counts(await result.usage) };
  },

  async object() {
    const schema = z.object({ kind: z.enum(['cat', 'dog']), legs: z.number().int() });
    const { object, usage } = await generateObject({ ...most(100), schema, prompt: 'An animal.' });
    return { object, usage: counts(usage) };
  },

  async tool() {
    const asked = [];
    const weather = tool({
      description: 'The weather in a city',
      inputSchema: z.object({ city: z.string() }),
      execute: ({ city }) => { asked.push(city); return 'sunny'; },
    });
    const { steps } = await generateText({
      ...most(60),
      tools: { weather },
      stopWhen: stepCountIs(2),
      prompt: 'What is the weather in Paris?',
    });
    return { asked, calls: steps.map((step) => step.toolCalls.length), usage: steps.map((step) => counts(step.usage)) };
  },

  async image() {
    const image = Buffer.from('iVBORw0KGgo=', 'base64');
    const content = [{ type: 'text', text: 'What is this?' }, { type: 'image', image, mediaType: 'image/png' }];
    return generateText({ ...most(6), messages: [{ role: 'user', content }] });
  },
};

try {
  console.log(JSON.stringify(await acts[what]()));
} catch (error) {
  if (!APICallError.isInstance(error)) throw error;
  console.log(JSON.stringify({ status: error.statusCode, body: JSON.parse(error.responseBody) }));
}
