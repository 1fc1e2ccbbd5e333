// Shows logs of pods in a browser, as they are written.
//
//     PORT=8080 node follow-logs.mjs
//     http://127.0.0.1:8080/NAMESPACE/POD[/CONTAINER][?tail=100]
//
// A browser that is slow holds up the kubelet, not this program's memory; one that leaves ends the connection.

import { createServer } from 'node:http';
import { pipeline } from 'node:stream/promises';

import { Client } from 'kubectl-wsx';

const client = await Client.connect();

async function show(request, response, signal) {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  const [namespace, pod, container] = pathname.slice(1).split('/');
  const tailLines = Number(searchParams.get('tail') ?? 100);
  const logs = await client.logs(pod, { namespace, container, tailLines, follow: true, signal });
  // What happened to the log is not part of it.
  logs.on('event', ({ kind }) => console.error(`${pod}: ${kind}`));
  // A log is foreign text: never a page.
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' });
  response.flushHeaders();
  await pipeline(logs.chunks(), response);
  const { kind, exitCode } = await logs.end;
  console.error(`${pod}: ${kind} ${exitCode ?? ''}, gaps: ${logs.report().gaps}`);
}

const server = createServer((request, response) => {
  // Whoever leaves while the log is being looked for must not be waited for.
  const left = new AbortController();
  response.on('close', () => left.abort());
  show(request, response, left.signal).catch((error) => {
    console.error(`${request.url}: ${error.code}: ${error.message}`);
    if (response.headersSent) return response.destroy();
    response.writeHead(error.httpStatus ?? 500, { 'content-type': 'text/plain; charset=utf-8' });
    response.end(`${error.message}\n`);
  });
});
server.listen(process.env.PORT ?? 8080, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});
