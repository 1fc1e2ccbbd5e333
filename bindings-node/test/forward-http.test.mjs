// HTTP over connections without a local socket: what `node:http` wants of a socket.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { buffer, text } from 'node:stream/consumers';
import { test as unlimited } from 'node:test';

import { Client } from '../index.mjs';
import { cluster, forwarded } from './support.mjs';

const test = (name, action) => unlimited(name, { timeout: 30_000 }, action);
const kubeconfig = await cluster();
const client = await Client.connect({ kubeconfig });

/** A forward to a pod of its own, and an agent that asks through it. */
async function own(name, agentOptions, ...before) {
  await forwarded(kubeconfig, name)({ create: {} }, ...before);
  const forward = await client.portForward(name, [80], { address: [] });
  const agent = new http.Agent(agentOptions);
  agent.createConnection = (_, done) => void forward.open(80).then((socket) => done(null, socket), done);
  const leave = async () => {
    agent.destroy();
    await forward.close();
  };
  return { forward, agent, leave };
}

/** Asks, and returns the answer whose body is to be read. */
async function ask(options, body) {
  const request = http.request({ host: 'pod', ...options });
  // What is told after the answer has begun is told of the answer, too.
  request.on('error', () => {});
  request.end(body);
  const [response] = await once(request, 'response');
  return response;
}

test('a request goes over a connection that is given to it', async () => {
  const { forward, leave } = await own('one-0');
  const socket = await forward.open(80);
  const response = await ask({ createConnection: () => socket, path: '/' });
  assert.equal(response.statusCode, 200);
  assert.equal(await text(response), 'one-0');
  const opened = (_, done) => void forward.open(80).then((socket) => done(null, socket), done);
  const data = Buffer.alloc(1_000_000, 'echo');
  const echo = await ask({ createConnection: opened, path: '/echo', method: 'POST' }, data);
  assert.ok((await buffer(echo)).equals(data));
  await leave();
});

test('an agent keeps connections alive, and lets go of those that end', async () => {
  const { forward, agent, leave } = await own('kept-0', { keepAlive: true, timeout: 5000 });
  for (let round = 0; round < 10; round++) {
    assert.equal(await text(await ask({ agent, path: '/' })), 'kept-0');
    // It is given back in a later turn.
    await new Promise(setImmediate);
  }
  assert.equal(forward.report().connections, 1);
  const lengths = await Promise.all(
    Array.from({ length: 40 }, async (_, index) => {
      const response = await ask({ agent, path: `/bytes?n=${index * 1000}` });
      return (await buffer(response)).length;
    }),
  );
  assert.deepEqual(lengths, Array.from({ length: 40 }, (_, index) => index * 1000));
  assert.ok(forward.report().connections <= 40);
  const [[idle]] = Object.values(agent.freeSockets);
  assert.equal(idle.timeout, 5000);
  const gone = Object.values(agent.freeSockets).flat().map((socket) => once(socket, 'close'));
  await forwarded(kubeconfig, 'kept-0')({ restart: true });
  await Promise.all(gone);
  assert.deepEqual(Object.keys(agent.freeSockets), []);
  assert.equal(await text(await ask({ agent, path: '/' })), 'kept-0');
  await leave();
});

test('an answer without a length is whole when the pod has ended, and only then', async () => {
  const { agent, leave } = await own('whole-0', {});
  const whole = await ask({ agent, path: '/stream?n=100000' });
  assert.equal((await buffer(whole)).length, 100_000);
  assert.ok(whole.complete);
  await leave();
  const cut = await own('whole-1', {}, { next: { after_bytes: 50_000, then: 'fin' } });
  const broken = await ask({ agent: cut.agent, path: '/stream?n=100000' });
  await assert.rejects(buffer(broken), { code: 'lost' });
  await cut.leave();
});

test('an answer that is cut or reset fails', async () => {
  const { agent, leave } = await own('cut-0', {});
  for (const path of ['/cut?n=1000&of=5000', '/reset?n=1000&of=5000']) {
    const broken = await ask({ agent, path });
    await assert.rejects(buffer(broken), (error) => ['ECONNRESET', 'lost'].includes(error.code), path);
  }
  await leave();
});

test('a request that is destroyed resets its connection', async () => {
  const { forward, agent, leave } = await own('left-0', {});
  const response = await ask({ agent, path: '/bytes?n=1000000000' });
  response.destroy();
  await forwarded(kubeconfig, 'left-0')({ await_open: 0 });
  assert.equal(forward.report().failed, 1);
  await leave();
});

test('a port that the pod refuses is an error of the request', async () => {
  const { agent, leave } = await own('refused-0', {}, { ports: { 80: 'refused' } });
  await assert.rejects(ask({ agent, path: '/' }), { name: 'WsxError', code: 'not_started' });
  await leave();
  await assert.rejects(ask({ agent, path: '/' }), { name: 'WsxError', code: 'closed' });
});

test('a time limit of HTTP holds', async () => {
  const { agent, leave } = await own('late-0', {}, { ports: { 80: 'silent' } });
  const request = http.request({ agent, host: 'pod', path: '/', timeout: 100 });
  request.end();
  await once(request, 'timeout');
  const failed = once(request, 'error');
  request.destroy(new RangeError('late'));
  assert.equal((await failed)[0].message, 'late');
  await leave();
});

test('setTimeout tells of silence alone, and again after more data', async () => {
  const { forward, leave } = await own('idle-0', {});
  const socket = await forward.open(80);
  const heard = [];
  socket.setTimeout(200, () => heard.push('listener'));
  socket.on('timeout', () => heard.push('timeout'));
  await once(socket, 'timeout');
  assert.deepEqual(heard, ['listener', 'timeout']);
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(socket, 'data');
  await once(socket, 'timeout');
  assert.deepEqual(heard, ['listener', 'timeout', 'timeout']);
  assert.equal(socket.setTimeout(0).setNoDelay(true).setKeepAlive(true, 1000).timeout, 0);
  assert.throws(() => socket.setTimeout(-1), { name: 'WsxError', code: 'invalid' });
  assert.throws(() => socket.setTimeout('soon'), { name: 'WsxError', code: 'invalid' });
  await leave();
});
