// An OpenID provider with its own sign-in pages, for browser tests. Arguments: folder with node_modules, origin of the console.
// Prints its URL. The claim groups is the name of the account.
import { createRequire } from 'node:module'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [folder, origin] = process.argv.slice(2)
const { default: Provider } = await import(pathToFileURL(createRequire(join(folder, 'package.json')).resolve('oidc-provider')).href)

let handle = () => {}
const server = createServer((request, response) => handle(request, response))
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://localhost:${server.address().port}`
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: 'console',
        client_secret: 'canary-of-the-client-secret',
        redirect_uris: [`${origin}/sign-in/callback`],
        post_logout_redirect_uris: [`${origin}/`],
      },
    ],
    claims: { openid: ['sub'], groups: ['groups'] },
    conformIdTokenClaims: false,
    cookies: { keys: ['a key for tests'] },
    findAccount: (context, id) => ({ accountId: id, claims: () => ({ sub: id, groups: [id.replace(/\d+$/, '')] }) }),
    pkce: { required: () => true },
  })
  handle = provider.callback()
  console.log(issuer)
})
