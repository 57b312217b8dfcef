// What a TypeScript client knows of tokens: a browser that always says yes, and a place for what it gets.

const REDIRECT = 'http://127.0.0.1:1/callback';

export class Wallet {
  constructor(token) {
    if (token) this.saved = { access_token: token, token_type: 'Bearer' };
  }

  // Of E2E_TOKEN, which may be empty: none yet. Without it the client knows nothing of tokens.
  static ofEnvironment() {
    const token = process.env.E2E_TOKEN;
    return token === undefined ? undefined : new Wallet(token);
  }

  redirectUrl = REDIRECT;
  clientMetadata = {
    client_name: 'e2e',
    redirect_uris: [REDIRECT],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  };

  clientInformation() {
    return this.client;
  }

  saveClientInformation(client) {
    this.client = client;
  }

  tokens() {
    return this.saved;
  }

  saveTokens(tokens) {
    this.saved = tokens;
  }

  saveCodeVerifier(verifier) {
    this.verifier = verifier;
  }

  codeVerifier() {
    return this.verifier;
  }

  async redirectToAuthorization(url) {
    const answer = await fetch(url, { redirect: 'manual' });
    this.code = new URL(answer.headers.get('location')).searchParams.get('code');
  }
}

// Connects; where a token is asked for, gets one and connects anew. Returns the client and its transport.
export async function connected(make, isUnauthorized) {
  const wallet = Wallet.ofEnvironment();
  const first = make(wallet);
  try {
    await first.client.connect(first.transport, { timeout: 90_000 });
    return first;
  } catch (error) {
    if (!wallet?.code || !isUnauthorized(error)) throw error;
    await first.transport.finishAuth(wallet.code);
    const second = make(wallet);
    await second.client.connect(second.transport, { timeout: 90_000 });
    return second;
  }
}
