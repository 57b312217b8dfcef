// A client on the official TypeScript SDK 2.x: `ts2_client.mjs URL auto|legacy`; its orders and outcomes are those of
// ts_session.mjs.

import { Client, ProtocolError, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { serve } from './ts_session.mjs';

await serve({
  make: (authProvider) => ({
    client: new Client({ name: 'e2e', version: '1.0.0' }, { versionNegotiation: { mode: process.argv[3] } }),
    transport: new StreamableHTTPClientTransport(new URL(process.argv[2]), { authProvider }),
  }),
  callTool: (client, call, options) => client.callTool(call, options),
  ProtocolError,
  UnauthorizedError,
});
