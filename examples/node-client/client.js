// Issues a token, calls a service with it, renews it and revokes it.
//
//     npm ci && node client.js
//
// Environment: JETON and SERVICE (host:port), CLIENT_ID, CLIENT_SECRET; PROTO if the contract is not at ../../proto.
'use strict';

const { randomUUID } = require('node:crypto');
const path = require('node:path');
const { promisify } = require('node:util');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const health = require('grpc-health-check');

// Long enough for a retry, short enough for a person who waits. gRPC has no deadline of its own.
const DEADLINE_MS = 5_000;

// Retries what is safe to repeat: the request id makes an IssueToken that was answered unheard give the same token again,
// and a renewal answers a refresh token's owner the same way.
const RETRIES = JSON.stringify({
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [{
    name: [{ service: 'jeton.v1.TokenService' }],
    retryPolicy: {
      maxAttempts: 4, initialBackoff: '0.1s', maxBackoff: '1s', backoffMultiplier: 2,
      retryableStatusCodes: ['UNAVAILABLE', 'RESOURCE_EXHAUSTED'],
    },
  }],
});

const root = process.env.PROTO ?? path.join(__dirname, '../../proto');
const definition = loader.loadSync('jeton/v1/token_service.proto', {
  includeDirs: [root, path.join(root, '../third_party')],
  keepCase: true,
  longs: String,
  enums: String,
});
const { TokenService } = grpc.loadPackageDefinition(definition).jeton.v1;
const Health = grpc.makeGenericClientConstructor(health.service, 'Health');

/** A call that answers by a promise, with a deadline. */
function call(stub, method, request, metadata = new grpc.Metadata()) {
  const deadline = Date.now() + DEADLINE_MS;
  return promisify(stub[method].bind(stub))(request, metadata, { deadline });
}

/** Calls the service as the bearer of a token. */
async function callService(service, token) {
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return (await call(service, 'Check', {}, metadata)).status;
}

async function main() {
  const { JETON, SERVICE, CLIENT_ID, CLIENT_SECRET } = process.env;
  const plaintext = grpc.credentials.createInsecure();
  const tokens = new TokenService(JETON, plaintext, { 'grpc.service_config': RETRIES });
  const service = new Health(SERVICE, plaintext);
  const client = { client_id: CLIENT_ID, client_secret: CLIENT_SECRET };

  const issue = { ...client, client_credentials: {}, include_refresh_token: true, request_id: randomUUID() };
  let { token } = await call(tokens, 'IssueToken', issue);
  console.log('issued', token.token_id);
  console.log('called:', await callService(service, token.access_token));

  const renewal = await call(tokens, 'RenewToken', { ...client, refresh_token: token.refresh_token });
  token = renewal.token;
  console.log('renewed', token.token_id);
  console.log('called:', await callService(service, token.access_token));

  // With its refresh token goes the whole login.
  await call(tokens, 'RevokeToken', { token: token.refresh_token });
  console.log('revoked');
  try {
    await call(tokens, 'RenewToken', { ...client, refresh_token: token.refresh_token });
  } catch (error) {
    console.log('renewal refused:', grpc.status[error.code]);
  }

  tokens.close();
  service.close();
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
