// Files over HTTP as many a Node server does it, the path by WHATWG's URL: `file_origin.mjs DIRECTORY`.
// Prints one JSON line with its address.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';

const listener = createServer(async (request, response) => {
  try {
    const path = decodeURIComponent(new URL(request.url, 'http://origin').pathname);
    response.end(await readFile(join(process.argv[2], path)));
  } catch {
    response.writeHead(404).end();
  }
});
listener.listen(0, '127.0.0.1', () => {
  const { address, port } = listener.address();
  process.stdout.write(`${JSON.stringify({ listening: `${address}:${port}` })}\n`);
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
