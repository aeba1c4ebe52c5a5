// An OpenID provider for tests: the real library, on loopback, where every visitor is signed in at once.
//
//   node server.mjs DIRECTORY KEY CERTIFICATE    with DIRECTORY/node_modules, and PEM files for `localhost`
//
// Prints its issuer when it is ready, and ends when its standard input does.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { resolve } from 'node:path';

const library = resolve(process.argv[2], 'node_modules/oidc-provider/lib/index.js');
const { default: Provider } = await import(library);

const account = {
  sub: 'person-1',
  email: 'ada@example.com',
  email_verified: true,
  name: 'Ada Lovelace',
  given_name: 'Ada',
  family_name: 'Lovelace',
};
const redirect_uris = ['https://app.example.com/callback', 'https://app.example.com/other'];
// One client for each kind of key.
const clients = [
  ['rsa', 'client_secret_basic', 'RS256'],
  ['elliptic', 'client_secret_basic', 'ES256'],
  ['public', 'none', 'EdDSA'],
].map(([client_id, token_endpoint_auth_method, id_token_signed_response_alg]) => ({
  client_id,
  client_secret: token_endpoint_auth_method === 'none' ? undefined : 'secret: with % and +',
  token_endpoint_auth_method,
  id_token_signed_response_alg,
  redirect_uris,
}));
const key = (kid, alg, type, options) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
  kid,
  alg,
  use: 'sig',
});

const server = createServer({ key: readFileSync(process.argv[3]), cert: readFileSync(process.argv[4]) });
server.listen(0, '127.0.0.1', () => {
  const issuer = `https://localhost:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients,
    jwks: {
      keys: [
        key('rsa', 'RS256', 'rsa', { modulusLength: 2048 }),
        key('ec', 'ES256', 'ec', { namedCurve: 'P-256' }),
        key('ed', 'EdDSA', 'ed25519', {}),
      ],
    },
    scopes: ['openid', 'email', 'profile'],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'given_name', 'family_name'] },
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256', 'EdDSA'] },
    cookies: { keys: ['for tests'] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, interaction) => `/sign-in/${interaction.uid}` },
    findAccount: (_, id) => ({ accountId: id, claims: () => account }),
    async loadExistingGrant(ctx) {
      const grant = new provider.Grant({
        clientId: ctx.oidc.client.clientId,
        accountId: ctx.oidc.session.accountId,
      });
      grant.addOIDCScope('openid email profile');
      await grant.save();
      return grant;
    },
  });
  server.on('request', (request, response) => {
    if (request.url.startsWith('/sign-in/')) {
      provider.interactionFinished(request, response, { login: { accountId: account.sub } });
    } else {
      provider.callback()(request, response);
    }
  });
  process.stdout.write(`${issuer}\n`);
});
process.stdin.on('end', () => process.exit(0)).resume();
