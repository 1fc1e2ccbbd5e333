// Asks a web server in a pod, without a local port.
//
//     node forward-http.mjs TARGET PORT PATH...
//     node forward-http.mjs svc/api 80 /healthz /metrics
//
// Connections are kept alive and shared by the requests. A pod that is replaced meanwhile is found anew; an
// answer that was cut is an error, never a short one.

import http from 'node:http';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

import { Client } from 'kubectl-wsx';

const [target, port, ...paths] = process.argv.slice(2);

const client = await Client.connect();
const forward = await client.portForward(target, [port], { address: [] });
forward.on('reconnecting', ({ pod, why }) => console.error(`${pod} is lost: ${why}`));

const agent = new http.Agent({ keepAlive: true });
agent.createConnection = (options, done) => {
  forward.open(port).then((socket) => done(null, socket), done);
};

for (const path of paths) {
  const request = http.get({ agent, host: target.replace('/', '.'), path });
  const [response] = await once(request, 'response');
  console.log(`${response.statusCode} ${path} ${await text(response)}`);
}

const { connections, received, protocol } = forward.report();
console.error(`${connections} connections, ${received} bytes, by ${protocol}`);
agent.destroy();
await client.close();
