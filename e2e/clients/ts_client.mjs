// A client on the official TypeScript SDK: `ts_client.mjs URL`; its orders and outcomes are those of ts_session.mjs.

import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpError } from '@modelcontextprotocol/sdk/types.js';
import { serve } from './ts_session.mjs';

await serve({
  make: (authProvider) => ({
    client: new Client({ name: 'e2e', version: '1.0.0' }),
    transport: new StreamableHTTPClientTransport(new URL(process.argv[2]), { authProvider }),
  }),
  callTool: (client, call, options) => client.callTool(call, undefined, options),
  ProtocolError: McpError,
  UnauthorizedError,
});
