// What OpenAI's JavaScript client makes of the gate: `node client.mjs models|chat|image MODEL`, told in one line of JSON.
// The address and the key come by OPENAI_BASE_URL and OPENAI_API_KEY, so that no key shows in a list of processes.
import OpenAI from 'openai';

const [, , what, model] = process.argv;
const key = process.env.OPENAI_API_KEY;
// It insists on a key; who has none must take it off again.
const client = new OpenAI({ apiKey: key || 'none', defaultHeaders: key ? {} : { Authorization: null }, maxRetries: 0 });

const acts = {
  async models() {
    const listed = await client.models.list();
    const found = await client.models.retrieve(model);
    return { listed: listed.data.map((each) => each.id), found: found.id };
  },

  async chat() {
    const messages = [{ role: 'user', content: 'Say hello.' }];
    const stream = await client.chat.completions.create({
      model, messages, max_tokens: 6, temperature: 0, stream: true, stream_options: { include_usage: true },
    });
    const told = { pieces: [], usage: null };
    for await (const chunk of stream) {
      const text = chunk.choices[0]?.delta?.content;
      if (text) told.pieces.push(text);
      told.usage = chunk.usage ?? told.usage;
    }
    return told;
  },

  async image() {
    const picture = { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } };
    const messages = [{ role: 'user', content: [{ type: 'text', text: 'What is this?' }, picture] }];
    return client.chat.completions.create({ model, messages, max_tokens: 6 });
  },
};

try {
  console.log(JSON.stringify(await acts[what]()));
} catch (error) {
  if (!(error instanceof OpenAI.APIError)) throw error;
  console.log(JSON.stringify({ error: error.constructor.name, code: error.code, message: error.message }));
}
