// An OpenID provider: `node oidc_provider.mjs PORT SETTINGS`, which says where it answers. Its keys, its clients and
// what it knows of people stand in the file SETTINGS, which it reads again at a SIGHUP. It ends with whoever holds its
// standard input.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const [, , port, file] = process.argv;

function made(issuer) {
  const { clients, groups, keys, resources } = JSON.parse(readFileSync(file, 'utf8'));
  const groupsOf = (id) => groups[id] ?? [];
  return new Provider(issuer, {
    clients,
    jwks: { keys },
    cookies: { keys: [keys[0].kid] },
    claims: { openid: ['sub', 'groups'] },
    conformIdTokenClaims: false, // The groups stand in the ID token, not at the userinfo endpoint alone.
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, groups: groupsOf(id) }) }),
    extraTokenClaims: (_, token) => ({ groups: groupsOf(token.clientId) }),
    ttl: { IdToken: 600, Grant: 600, Interaction: 600, Session: 600 },
    features: {
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => ({
          scope: '',
          audience: resources[resource].audience,
          accessTokenTTL: resources[resource].seconds,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  }).callback();
}

const server = createServer((request, response) => answer(request, response));
let answer;
server.listen(Number(port), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  answer = made(issuer);
  process.on('SIGHUP', () => { answer = made(issuer); });
  console.log(`The provider answers on ${issuer}`);
});
process.stdin.on('end', () => process.exit()).resume();
