// An OpenID Connect provider for tests: node provider.mjs PORT PLACE
//
// Whoever signs in as `alice` has the verified address alice@example.com; `mallory-as-alice` says
// to have it too, and nobody has verified that. PLACE says where the claims about a person are:
// `in-token`, or `at-userinfo` alone (OpenID Connect Core 5.4).

import Provider from "oidc-provider";

const [port, place] = process.argv.slice(2);

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: "orrery",
      client_secret: "a secret of tests, long enough",
      // Only of a native client does any port of this machine match (RFC 8252, 7.3).
      application_type: "native",
      redirect_uris: ["http://127.0.0.1/oidc/callback"],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  conformIdTokenClaims: place === "at-userinfo",
  cookies: { keys: ["signs cookies in tests"] },
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true } },
  findAccount: (_, id) => {
    const [person, claimed] = id.split("-as-");
    return {
      accountId: id,
      claims: () => ({
        sub: id,
        name: `${person} of the provider`,
        email: `${claimed ?? person}@example.com`,
        email_verified: claimed === undefined,
      }),
    };
  },
});

provider.listen(Number(port), "127.0.0.1");
