// An MCP server on the official TypeScript SDK 2.x: 2026-07-28, and what came before it without sessions.
//
// Prints one JSON line with its address, then one for each tool that really ran: what a waypoint let through.

import { createServer } from 'node:http';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { McpServer, createMcpHandler } from '@modelcontextprotocol/server';
import * as z from 'zod';

const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

function notes() {
  const server = new McpServer({ name: 'ts2-notes', version: '1.0.0' });
  const tool = (name, description, inputSchema, run) =>
    server.registerTool(name, { description, inputSchema: z.object(inputSchema) }, async (given) => {
      print({ ran: name, arguments: given });
      return { content: [{ type: 'text', text: run(given) }] };
    });
  tool('get_note', 'Read one note', { id: z.string() }, ({ id }) => `the note ${id}`);
  tool('create_note', 'Write a new note', { owner: z.string(), text: z.string() }, ({ owner }) => `created for ${owner}`);
  tool('delete_note', 'Delete a note for good', { id: z.string() }, ({ id }) => `deleted ${id}`);
  return server;
}

const handle = toNodeHandler(createMcpHandler(notes));
const listener = createServer((request, response) => void handle(request, response));
listener.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  const { address, port } = listener.address();
  print({ listening: `${address}:${port}` });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
