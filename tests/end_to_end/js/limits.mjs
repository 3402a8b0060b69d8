// What OpenAI's JavaScript client makes of limits: `node limits.mjs MODEL RETRIES`, told in one line of JSON: two calls
// in a row, what each came to, and of every answer that came over the wire its status and how long to wait.
import OpenAI from 'openai';

const [, , model, retries] = process.argv;
const heard = [];
const client = new OpenAI({
  maxRetries: Number(retries),
  async fetch(...asked) {
    const answer = await fetch(...asked);
    heard.push([answer.status, answer.headers.get('retry-after-ms')]);
    return answer;
  },
});

async function asked() {
  try {
    const messages = [{ role: 'user', content: 'Say hello.' }];
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 6 });
    return { tokens: answer.usage.total_tokens };
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    const { code, type, status } = error;
    return { error: error.constructor.name, code, type, status, left: error.headers.get('x-ratelimit-remaining-requests') };
  }
}

const came = [await asked(), await asked()];
console.log(JSON.stringify({ came, heard }));
