// An MCP server on the official TypeScript SDK, over Streamable HTTP with sessions.
//
// Prints one JSON line with its address, then one for each tool that really ran: what a waypoint let through.

import { randomUUID } from 'node:crypto';
import { createMcpExpressApp } from '@modelcontextprotocol/sdk/server/express.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { isInitializeRequest } from '@modelcontextprotocol/sdk/types.js';
import * as z from 'zod';

const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const text = (value) => ({ content: [{ type: 'text', text: value }] });

function notes() {
  const server = new McpServer({ name: 'ts-notes', version: '1.0.0' });
  const tool = (name, description, inputSchema, run) =>
    server.registerTool(name, { description, inputSchema }, async (given) => {
      print({ ran: name, arguments: given });
      return text(run(given));
    });
  tool('get_note', 'Read one note', { id: z.string() }, ({ id }) => `the note ${id}`);
  tool('create_note', 'Write a new note', { owner: z.string(), text: z.string() }, ({ owner }) => `created for ${owner}`);
  tool('delete_note', 'Delete a note for good', { id: z.string() }, ({ id }) => `deleted ${id}`);
  return server;
}

const sessions = new Map();

async function open() {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (id) => void sessions.set(id, transport),
  });
  transport.onclose = () => sessions.delete(transport.sessionId);
  await notes().connect(transport);
  return transport;
}

const app = createMcpExpressApp();
app.all('/mcp', async (request, response) => {
  const id = request.headers['mcp-session-id'];
  const transport = id ? sessions.get(id) : isInitializeRequest(request.body) ? await open() : undefined;
  if (transport) return transport.handleRequest(request, response, request.body);
  const error = id ? { code: -32001, message: 'Session not found' } : { code: -32000, message: 'No session' };
  return response.status(id ? 404 : 400).json({ jsonrpc: '2.0', error, id: null });
});

const listener = app.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  const { address, port } = listener.address();
  print({ listening: `${address}:${port}` });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
