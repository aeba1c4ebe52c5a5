// OAuth 2 as openid-client speaks it, and keys as jose reads them.
//
//   node client.mjs DIRECTORY    with DIRECTORY/node_modules, and what there is as JSON on standard input
//
// Ends with an error where something is not as these libraries want it.
import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const { resolve: found } = createRequire(pathToFileURL(resolve(process.argv[2], 'package.json')));
const client = await import(pathToFileURL(found('openid-client')));
const jose = await import(pathToFileURL(found('jose')));

const world = JSON.parse(readFileSync(0, 'utf8'));
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const discover = (id, authentication, algorithm) =>
  client.discovery(new URL(world.issuer), id, undefined, authentication, {
    algorithm,
    execute: [client.allowInsecureRequests],
  });

// Metadata, as of OAuth 2 and as of OpenID Connect.
for (const algorithm of ['oauth2', 'oidc']) {
  for (const authentication of [client.ClientSecretBasic, client.ClientSecretPost]) {
    const config = await discover(world.client_id, authentication(world.client_secret), algorithm);
    const token = await client.clientCredentialsGrant(config, { scope: 'pay' });
    assert.equal(token.scope, 'pay');
    assert.equal(token.token_type, 'bearer');
  }
}

// An assertion.
const pem = createPrivateKey(world.key).export({ type: 'pkcs8', format: 'pem' });
const key = await jose.importPKCS8(pem, 'ES256');
const keyed = await discover(world.keyed_client_id, client.PrivateKeyJwt(key), 'oauth2');
assert.ok((await client.clientCredentialsGrant(keyed)).access_token);

// The token is one that jose verifies by the key set.
const config = await discover(world.client_id, client.ClientSecretBasic(world.client_secret), 'oauth2');
const token = await client.clientCredentialsGrant(config);
const keys = jose.createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri));
const { payload } = await jose.jwtVerify(token.access_token, keys, {
  issuer: world.issuer,
  audience: `${world.issuer}/api`,
  typ: 'at+jwt',
});
assert.equal(payload.sub, world.client_id);

// Renewal and exchange.
const renewed = await client.refreshTokenGrant(config, world.refresh_token);
assert.notEqual(renewed.refresh_token, world.refresh_token);
const exchanged = await client.genericGrantRequest(config, 'urn:ietf:params:oauth:grant-type:token-exchange', {
  subject_token: world.subject_token,
  subject_token_type: ACCESS_TOKEN,
  scope: 'pay',
});
assert.equal(exchanged.issued_token_type, ACCESS_TOKEN);

// Introspection and revocation.
const shown = await client.tokenIntrospection(config, token.access_token);
assert.equal(shown.active, true);
assert.equal(shown.exp, payload.exp);
await client.tokenRevocation(config, token.access_token);
assert.deepEqual(await client.tokenIntrospection(config, token.access_token), { active: false });

// A refusal has the RFC's code.
const wrong = await discover(world.client_id, client.ClientSecretBasic('nonsense'), 'oauth2');
await assert.rejects(client.clientCredentialsGrant(wrong), (error) => {
  // The header tells before the body does.
  assert.equal(error.status, 401);
  return true;
});
