// Reads rows {"body", "method", "tool", "arguments"} as JSON lines (body in base64) and says for each whether the
// official TypeScript SDK and JSON.parse find exactly that call in the body: {"fault": null} or why not.
// `ts_parse.mjs MODULE`, which of the SDK's modules has the schemas, of 1.x or 2.x.

import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';

const { CallToolRequestSchema, JSONRPCMessageSchema } = await import(process.argv[2]);

function fault(row) {
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(row.body, 'base64'));
  const plain = JSON.parse(text);
  const want = row.arguments === null ? undefined : JSON.parse(row.arguments);
  const same = (method, name, given) =>
    method === row.method && name === (row.tool ?? undefined) && isDeepStrictEqual(given, want);
  if (!same(plain.method, plain.params?.name, plain.params?.arguments)) return `JSON.parse finds ${text.slice(0, 500)}`;
  const message = JSONRPCMessageSchema.parse(plain);
  if (row.method === 'tools/call') {
    const { method, params } = CallToolRequestSchema.parse(message);
    if (!same(method, params.name, params.arguments)) return `the SDK finds ${JSON.stringify(params).slice(0, 500)}`;
  }
  return null;
}

for await (const line of createInterface({ input: process.stdin })) {
  let found;
  try {
    found = fault(JSON.parse(line));
  } catch (error) {
    found = `${error?.name}: ${error?.message}`;
  }
  process.stdout.write(`${JSON.stringify({ fault: found })}\n`);
}
