// A session as the clients on either TypeScript SDK have it.
//
// Reads one JSON object per line, {"step", "do": "open"|"list"|"call"|"close", "tool", "arguments"}, does it on the one
// session, and prints one JSON line with the outcome. What went wrong is an outcome; only the end of input ends it.

import { createInterface } from 'node:readline';
import { connected } from './wallet.mjs';

const TIMEOUT = 90_000;

// `make` gives a client and its transport, `callTool` calls a tool with it; the rest are the SDK's classes of errors.
export async function serve({ make, callTool, ProtocolError, UnauthorizedError }) {
  let client, transport;

  async function obey(order) {
    switch (order.do) {
      case 'open':
        ({ client, transport } = await connected(make, (error) => error instanceof UnauthorizedError));
        return { outcome: 'ok' };
      case 'list': {
        const { tools } = await client.listTools({}, { timeout: TIMEOUT });
        return { outcome: 'ok', tools: tools.map((tool) => tool.name).sort() };
      }
      case 'call': {
        const call = { name: order.tool, arguments: order.arguments };
        const result = await callTool(client, call, { timeout: TIMEOUT });
        return { outcome: result.isError ? 'tool_error' : 'ok', text: result.content[0]?.text ?? '' };
      }
      default:
        await transport.terminateSession();
        await client.close();
        return { outcome: 'ok' };
    }
  }

  function failure(error) {
    if (!(error instanceof ProtocolError)) return { outcome: 'broken', message: `${error?.name}: ${error?.message}` };
    return { outcome: 'error', code: error.code, message: error.message, data: error.data ?? null };
  }

  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    const outcome = await obey(order).catch(failure);
    process.stdout.write(`${JSON.stringify({ step: order.step, ...outcome })}\n`);
    if (order.do === 'close') break;
  }
  process.exit(0);
}
