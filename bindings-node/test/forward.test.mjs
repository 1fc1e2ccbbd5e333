// Port-forwards: local ports, connections without one, how they end, and what is told.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { test as unlimited } from 'node:test';

import { Client, PortForward } from '../index.mjs';
import { cluster, fails, forwarded } from './support.mjs';

const test = (name, action) => unlimited(name, { timeout: 30_000 }, action);
const kubeconfig = await cluster();
const client = await Client.connect({ kubeconfig });
const TUNNEL = 'SPDY/3.1+portforward.k8s.io';

/** A forward to a pod of its own, without local ports: `{ forward, ports }`. */
async function own(name, ask, options = {}, ...before) {
  const ports = forwarded(kubeconfig, name);
  await ports({ create: {} }, ...before);
  const forward = await client.portForward(name, ask, { address: [], ...options });
  return { forward, ports };
}

/** Reads to the end, or to the failure. */
async function all(stream) {
  const pieces = [];
  try {
    for await (const piece of stream) pieces.push(piece);
    return { data: Buffer.concat(pieces) };
  } catch (error) {
    return { data: Buffer.concat(pieces), error };
  }
}

/** Waits for an event of this kind. */
async function happens(events, kind) {
  for (;;) {
    const { value, done } = await events.next();
    assert.ok(!done, `no ${kind}`);
    if (value.kind === kind) return value;
  }
}

/** What `gen` says. */
const words = (bytes) => Buffer.from(BigUint64Array.from({ length: bytes / 8 }, (_, index) => BigInt(index)).buffer);

test('local ports lead to the pod, as they are told', async () => {
  const forward = await client.portForward('svc/web', [':80', '0:80'], { address: ['127.0.0.1'] });
  assert.ok(forward instanceof PortForward);
  const [{ local }, other] = forward.localPorts;
  assert.deepEqual(forward.localPorts.map(({ target, address }) => [target, address]), [
    ['service/web', '127.0.0.1'],
    ['service/web', '127.0.0.1'],
  ]);
  assert.ok(local > 0 && other.local > 0 && local !== other.local);
  assert.throws(() => (forward.localPorts[0].local = 1), TypeError);
  for (const port of [local, other.local]) {
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'web-0');
  }
  const both = await client.portForward('web-0', [':80']);
  assert.deepEqual(both.localPorts.map(({ target, remote, address }) => [target, remote, address]), [
    ['pod/web-0', 80, '127.0.0.1'],
    ['pod/web-0', 80, '::1'],
  ]);
  await Promise.all([forward.close(), both.close()]);
  // They are free when it is closed.
  const again = net.createServer().listen(local, '127.0.0.1');
  await once(again, 'listening');
  again.close();
});

test('a port in use is refused, or another one is taken', async () => {
  const holder = net.createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address();
  const ask = [`${port}:80`];
  const address = ['127.0.0.1'];
  const { message, why } = await fails(client.portForward('web-0', ask, { address }), 'not_started');
  assert.match(message, new RegExp(`127.0.0.1:${port}: the port is in use`));
  assert.match(why, /this process/);
  const next = await client.portForward('web-0', ask, { address, onConflict: 'next' });
  const random = await client.portForward('web-0', ask, { address, onConflict: 'random' });
  const [{ local: after }] = next.localPorts;
  assert.ok(after > port && after <= port + 100, `${after} after ${port}`);
  assert.notEqual(random.localPorts[0].local, port);
  await Promise.all([next.close(), random.close()]);
  holder.close();
});

test('a Unix socket is a local port, and goes with the forward', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'wsx-unix-'));
  const unix = join(folder, 'echo');
  const forward = await client.portForward('web-0', ['7'], { unix });
  assert.deepEqual(forward.localPorts, [{ target: 'pod/web-0', remote: 7, local: 0, address: unix }]);
  const socket = net.connect(unix);
  socket.end('hi');
  assert.equal(await text(socket), 'hi');
  await forward.close();
  await assert.rejects(stat(unix), { code: 'ENOENT' });
  await rm(folder, { recursive: true });
});

for (const protocol of ['auto', 'v4']) {
  test(`bytes go through pipeline in both directions, unchanged: ${protocol}`, async () => {
    const forward = await client.portForward('web-0', [7], { address: [], protocol });
    const data = randomBytes(8 * 1024 * 1024);
    const socket = await forward.open();
    const hash = createHash('sha256');
    await Promise.all([pipeline(Readable.from([data]), socket, { end: false }), (async () => {
      let left = data.length;
      for await (const piece of socket) {
        hash.update(piece);
        if ((left -= piece.length) === 0) break;
      }
    })()]);
    assert.equal(hash.digest('hex'), createHash('sha256').update(data).digest('hex'));
    const { sent, received, protocol: used, connections } = forward.report();
    assert.deepEqual([sent, received, connections], [data.length, data.length, 1]);
    assert.equal(used, protocol === 'v4' ? 'v4.channel.k8s.io' : TUNNEL);
    await forward.close();
  });
}

test('a port is opened by its number or as it was written, or alone', async () => {
  const { forward } = await own('named-0', ['0:http', 7, ':80']);
  for (const port of ['http', 8080, 80, '80']) {
    const socket = await forward.open(port);
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.match(String(await once(socket, 'data')), /^HTTP\/1.1 200 OK/, String(port));
    socket.destroy();
  }
  const { message } = await fails(() => forward.open(), 'invalid');
  assert.equal(message, 'which port: 0:http, 7, :80?');
  await fails(() => forward.open(81), 'invalid');
  await forward.close();
  assert.equal(forward.report().connections, 4);
});

test('end() ends the input, and what the pod sends then still comes', async () => {
  const { forward } = await own('half-0', [2000], {}, { runtime: 'half-close' });
  const socket = await forward.open();
  socket.end('12345');
  const { length } = await buffer(socket);
  assert.equal(length, 5 + 1024 * 1024);
  assert.ok(socket.writableFinished && socket.readableEnded);
  await forward.close();
  assert.equal(forward.report().failed, 0);
});

test('the end of the pod is the end of both sides', async () => {
  const { forward } = await own('end-0', [100]);
  const socket = await forward.open();
  socket.write('abc');
  const { data, error } = await all(socket);
  assert.deepEqual([error, data.length], [undefined, 100]);
  assert.ok(socket.destroyed && socket.writableFinished);
  await forward.close();
});

test('a connection that is cut fails after all that came, and never ends; the forward goes on', async () => {
  const { forward, ports } = await own('cut-0', [19], {}, { next: { after_bytes: 100_000, then: 'rst' } });
  await once(forward, 'ready');
  const told = Promise.all(['closed', 'reconnecting', 'ready'].map((kind) => once(forward, kind)));
  const socket = await forward.open();
  let ended = false;
  socket.on('end', () => (ended = true));
  const { data, error } = await all(socket);
  assert.equal(error.code, 'lost', error.stack);
  assert.ok(data.length <= 100_000 && data.length > 0, String(data.length));
  assert.ok(data.equals(words(100_000).subarray(0, data.length)));
  assert.ok(!ended && !socket.readableEnded && socket.destroyed);
  const [[closed], [reconnecting], [ready]] = await told;
  const { error: why, received, remote, local } = closed;
  assert.deepEqual([why.code, received, remote, local], ['lost', data.length, 19, 0]);
  assert.deepEqual([reconnecting.pod, ready.pod], ['cut-0', 'cut-0']);
  assert.ok(ready.away > 0 && ready.away < 5, String(ready.away));
  const again = await forward.open();
  const [piece] = await once(again, 'data');
  assert.ok(piece.equals(words(1_000_000).subarray(0, piece.length)));
  again.destroy();
  assert.equal(forward.report().reconnects, 1);
  await ports({ await_open: 0 });
  await forward.close();
});

test('a reset of the pod is no end either, and the others live on', async () => {
  const { forward } = await own('reset-0', [3000, 7]);
  const other = await forward.open(7);
  const socket = await forward.open(3000);
  socket.write('x');
  const { data, error } = await all(socket);
  assert.equal(error.code, 'lost', error.stack);
  assert.ok(data.equals(words(64 * 1024)), String(data.length));
  other.end('still here');
  assert.equal(await text(other), 'still here');
  await forward.close();
});

test('a port that the pod refuses is told to who reads, and to who only writes', async () => {
  const { forward } = await own('refused-0', [9999]);
  const { data, error } = await all(await forward.open());
  assert.deepEqual([data.length, error.code], [0, 'not_started']);
  assert.match(error.why, /connection refused/);
  const writing = await forward.open();
  writing.write('x');
  const [told] = await once(writing, 'error');
  assert.equal(told.code, 'not_started');
  assert.equal(forward.report().failed, 2);
  await forward.close();
});

test('destroy() resets the connection, and whoever waits is told', async () => {
  const { forward, ports } = await own('destroyed-0', [19, 3001]);
  const socket = await forward.open(19);
  await once(socket, 'data');
  await ports({ await_open: 1 });
  socket.destroy();
  const [{ counts }] = await ports({ await_open: 0 });
  assert.ok(counts.resets > 0);
  const mine = new RangeError('mine');
  const other = await forward.open(19);
  const failed = once(other, 'error');
  other.destroy(mine);
  assert.equal((await failed)[0], mine);
  await ports({ await_open: 0 });
  assert.equal(forward.report().active, 0);
  // More than there is room for, and its end.
  const full = await forward.open(3001);
  const written = new Promise((done) => full.write(Buffer.alloc(8 * 1024 * 1024), done));
  full.destroy();
  assert.equal((await written).code, 'closed');
  await forward.close();
});

test('who reads slowly holds up the pod, and who writes is held up by it', async () => {
  const { forward, ports } = await own('slow-0', [19]);
  const reading = await forward.open();
  await once(reading, 'readable');
  assert.equal(reading.read(1000).length, 1000);
  const { forward: other } = await own('slow-1', [3001]);
  const writing = await other.open();
  const piece = Buffer.alloc(256 * 1024);
  // Until no write is done any more.
  for (let stuck = false; !stuck; ) {
    const written = new Promise((done) => writing.write(piece, () => done(true)));
    stuck = !(await Promise.race([written, new Promise((done) => setTimeout(done, 1500, false))]));
  }
  const { sent } = other.report();
  assert.ok(sent < 16 * 1024 * 1024, `sent ${sent}`);
  const { received } = forward.report();
  assert.ok(received < 2 * 1024 * 1024, `received ${received}`);
  let count = 1000;
  for await (const data of reading) if ((count += data.length) > 8 * 1024 * 1024) break;
  await ports({ await_open: 0 });
  await Promise.all([forward.close(), other.close()]);
});

test('an answer that comes before all was written is read whole; then it fails', async () => {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.once('data', () => socket.end(words(800)));
    socket.on('error', () => {}).resume();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { forward } = await own('early-0', [9000], {}, { ports: { 9000: `127.0.0.1:${server.address().port}` } });
  const endless = () => {
    const source = new Readable({ read: (size) => source.push(Buffer.alloc(size)) });
    return source;
  };
  const socket = await forward.open();
  const writing = pipeline(endless(), socket).catch((error) => error);
  const { data, error } = await all(socket);
  assert.ok(data.equals(words(800)), String(data.length));
  assert.equal(error.code, 'closed', error.stack);
  assert.equal((await writing).code, 'closed');
  // Who never reads is told at once.
  const unread = await forward.open();
  const failed = once(unread, 'error');
  await fails(pipeline(endless(), unread), 'closed');
  assert.equal((await failed)[0].code, 'closed');
  await forward.close();
  server.close();
});

test('what happens is told to all who listen, from the beginning', async () => {
  const { forward } = await own('told-0', [7]);
  const seen = [];
  forward.on('event', ({ kind }) => seen.push(kind));
  const ready = once(forward, 'ready');
  const events = forward.events();
  await fails(() => forward.events(), 'invalid');
  assert.deepEqual(await ready, [{ kind: 'ready', pod: 'told-0', away: null }]);
  const socket = await forward.open();
  socket.end('hello');
  await text(socket);
  const { lasted, ...closed } = await happens(events, 'closed');
  assert.deepEqual(closed, { kind: 'closed', connection: 1, remote: 7, local: 0, sent: 5, received: 5, error: null });
  assert.ok(lasted > 0);
  assert.deepEqual(seen, ['ready', 'opened', 'closed']);
  assert.deepEqual(await events.return(), { value: undefined, done: true });
  await forward.close();
  for await (const { kind } of forward.events()) assert.fail(kind);
});

test('events that nobody takes are counted, not kept', async () => {
  const { forward } = await own('missed-0', [7]);
  const events = forward.events();
  await happens(events, 'ready');
  const rounds = 550;
  for (let round = 0; round < rounds; round++) {
    (await forward.open()).destroy();
  }
  await forward.close();
  const kinds = [];
  let missed = 0;
  for await (const event of events) {
    kinds.push(event.kind);
    missed += event.count ?? 0;
  }
  assert.equal(kinds[0], 'missed');
  assert.equal(kinds.length - 1 + missed, 2 * rounds);
  assert.ok(kinds.length <= 1001, String(kinds.length));
});

test('closing ends all of it, and nothing can be opened then', async () => {
  const { forward, ports } = await own('closed-0', [3001], { address: ['127.0.0.1'] }, { next: {} });
  const [{ local }] = forward.localPorts;
  const socket = await forward.open();
  const outside = net.connect(local, '127.0.0.1');
  await once(outside, 'connect');
  outside.write('x');
  await ports({ await_open: 2 });
  const ends = [once(socket, 'error'), once(outside, 'error')];
  await forward.close();
  const [[one], [other]] = await Promise.all(ends);
  assert.deepEqual([one.code, other.code], ['closed', 'ECONNRESET']);
  await forward.wait();
  await fails(() => forward.open(), 'closed');
  await ports({ await_sessions: 0 });
  await forward.close();
});

test('an abort ends it with its reason', async () => {
  const control = new AbortController();
  const { forward } = await own('aborted-0', [7], { signal: control.signal });
  const reading = all(await forward.open());
  const reason = new RangeError('enough');
  control.abort(reason);
  for (const error of [await fails(forward.wait(), 'ABORT_ERR'), (await reading).error]) {
    assert.equal(error.cause, reason);
  }
  await fails(() => forward.open(), 'ABORT_ERR');
  await fails(client.portForward('web-0', [':80'], { signal: AbortSignal.abort() }), 'ABORT_ERR');
  const { forward: other } = await own('aborted-1', [7]);
  other.abort('why');
  assert.equal((await fails(other.wait(), 'ABORT_ERR')).cause, 'why');
});

test('a connection has a signal of its own', async () => {
  const { forward, ports } = await own('signal-0', [7, 19]);
  await fails(forward.open(7, { signal: AbortSignal.abort() }), 'ABORT_ERR');
  const control = new AbortController();
  const socket = await forward.open(19, { signal: control.signal });
  await once(socket, 'data');
  control.abort('enough');
  assert.equal((await all(socket)).error?.cause ?? 'enough', 'enough');
  assert.ok(socket.destroyed);
  await ports({ await_open: 0 });
  // While there is no session it is held.
  await ports({ sessions: { handshake: 'silent' } }, { cut: 'fin' });
  const late = new AbortController();
  const opening = forward.open(7, { signal: late.signal });
  setImmediate(() => late.abort());
  await fails(opening, 'ABORT_ERR');
  await forward.close();
});

test('a client that is closed ends its forwards', async () => {
  const other = await Client.connect({ kubeconfig });
  const forward = await other.portForward('web-0', [7], { address: [] });
  const reading = all(await forward.open());
  const late = fails(other.portForward('web-0', [':80']), 'closed');
  await other.close();
  assert.equal((await reading).error.code, 'closed');
  await forward.wait();
  await late;
  await fails(() => forward.open(), 'closed');
  await fails(() => other.portForward('web-0', [':80']), 'closed');
});

test('what ends it for good is told', async () => {
  const { forward, ports } = await own('never-0', [7], { reconnect: 'never' });
  const reading = all(await forward.open());
  await ports({ cut: 'rst' });
  assert.equal((await fails(forward.wait(), 'lost')).code, 'lost');
  assert.equal((await reading).error.code, 'lost');
  await fails(() => forward.open(), 'closed');
  const gone = await own('gone-0', [7], { wait: 500 });
  await gone.ports({ delete: true });
  assert.match((await fails(gone.forward.wait(), 'lost')).message, /did not come back/);
});

test('many connections at once keep to themselves', async () => {
  const count = process.env.WSX_SOAK ? 2000 : 200;
  const forward = await client.portForward('web-0', [7], { address: [], sessions: 2 });
  await Promise.all(Array.from({ length: count }, async (_, index) => {
    const socket = await forward.open();
    const data = Buffer.alloc(16 * 1024, `${index}.`);
    let left = data.length;
    socket.write(data);
    const pieces = [];
    for await (const piece of socket) {
      pieces.push(piece);
      if ((left -= piece.length) === 0) break;
    }
    assert.ok(Buffer.concat(pieces).equals(data), String(index));
  }));
  assert.equal(forward.report().connections, count);
  await forward.close();
  assert.equal(forward.report().active, 0);
});
