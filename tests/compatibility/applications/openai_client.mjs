// Calls the API with the official SDK, and with a wrong key.
import assert from "node:assert";
import OpenAI from "openai";

const baseURL = `${process.env.URL}/v1`;
const client = new OpenAI({ baseURL, apiKey: process.env.TOKEN });
const messages = [{ role: "user", content: "one two three" }];
const words = [];
for await (const chunk of await client.chat.completions.create({ model: "echo", messages, stream: true })) {
  words.push(chunk.choices[0].delta.content);
}
assert.deepEqual(words, ["one", "two", "three", undefined]);
await assert.rejects(
  new OpenAI({ baseURL, apiKey: "wrong" }).models.list(),
  (error) => error.status === 401 && error.message.includes("key"),
);
