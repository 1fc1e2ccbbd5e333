// Logs: lines, batches, chunks, what happens beside them, and how they end.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { getEventListeners, once } from 'node:events';
import { createServer, get } from 'node:http';
import { createRequire } from 'node:module';
import { Writable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Client } from '../index.mjs';
import { cluster, controlled, fails, program, watched } from './support.mjs';

const kubeconfig = await cluster();
const client = await Client.connect({ kubeconfig });
after(() => client.close());
const [{ Events }, { fold }] = ['events', 'log-events'].map((file) => createRequire(import.meta.url)(`../dist/${file}.js`));

const sha256 = (...data) => data.reduce((hash, piece) => hash.update(piece), createHash('sha256')).digest('hex');
const all = async (items) => {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
};

/** What hangs has a name. */
const LIMIT = { timeout: 60_000 };

let pods = 0;
/** A pod of its own, and what changes its log. */
async function own(...lines) {
  const pod = `own-${pods++}`;
  const log = controlled(kubeconfig, pod);
  await log({ create: {} }, { write: lines.map((text) => ({ text: `${text}\n` })) });
  return { pod, log, write: (...lines) => log({ write: lines.map((text) => ({ text: `${text}\n` })) }) };
}

const follow = { follow: true, timeouts: { connect: 2000 } };

test('a log is the same by lines, text, batches and chunks', LIMIT, async () => {
  const read = () => client.logs('lines-0', { container: '1m' });
  const chunks = await read();
  const data = await buffer(chunks.chunks());
  assert.equal(data.length, 1_048_500);
  assert.deepEqual(await chunks.end, { kind: 'complete', exitCode: null });
  const wanted = sha256(data);
  const lines = await all(await read());
  assert.equal(lines.length, 10_485);
  assert.equal(sha256(...lines), wanted);
  assert.equal(sha256(...(await all((await read()).lines({ encoding: 'latin1' })))), wanted);
  const byBatch = await read();
  const batches = await all(byBatch.batches());
  assert.equal(sha256(...batches.flat().map(({ data }) => data)), wanted);
  assert.ok(batches.every(({ length }) => length <= 1024));
  const report = { lines: 10_485, bytes: 1_048_500, gaps: 0, reconnects: 0, protocol: 'http' };
  for (const [name, value] of Object.entries(report)) assert.equal(byBatch.report()[name], value, name);
});

test('a batch tells the time and the source of each line', LIMIT, async () => {
  const { pod, log } = await own();
  const time = '2026-10-26T06:13:20.123456789Z';
  const timestamp = BigInt(Date.parse('2026-10-26T06:13:20Z')) * 1_000_000n + 123_456_789n;
  await log({ write: [{ ts: time, text: 'one\n' }] });
  const [batch] = await all((await client.logs(pod, { timestamps: true })).batches());
  const source = { namespace: 'default', pod, container: 'app' };
  assert.deepEqual(batch, [{ data: Buffer.from(`${time} one\n`), timestamp, begins: true, source }]);
});

test('a line over 1 MiB comes in pieces, and its text is one', LIMIT, async () => {
  const { pod, log } = await own();
  const long = 'x'.repeat(16 * 1024);
  await log({ write: [{ tag: 'P', text: long, repeat: 160 }, { tag: 'F', text: 'end\n' }, { text: 'next\n' }] });
  const pieces = (await all((await client.logs(pod)).batches())).flat();
  assert.deepEqual(pieces.map(({ begins }) => begins), [true, false, false, true]);
  assert.ok(pieces.every(({ data }) => data.length <= 1024 * 1024));
  const whole = `${'x'.repeat(160 * 16 * 1024)}end\nnext\n`;
  assert.equal(Buffer.concat(pieces.map(({ data }) => data)).toString(), whole);
  assert.equal(await text((await client.logs(pod)).chunks()), whole);
});

test('a character that lies across two pieces stays whole in text', LIMIT, async () => {
  const { pod, log } = await own();
  const tail = `${'x'.repeat(1024 * 1024 - 1)}ä€😀`;
  const parts = tail.match(/[^]{1,16384}/gu).map((text) => ({ tag: 'P', text }));
  await log({ write: [...parts, { tag: 'F', text: 'end\n' }, { text: 'sé\n' }, { tag: 'P', hex: '61f09f' }] });
  const lines = await all((await client.logs(pod)).lines({ encoding: 'utf8' }));
  assert.equal(lines.join(''), `${tail}end\nsé\na\ufffd`);
});

test('what is no text stays as it is', LIMIT, async () => {
  const { pod, log } = await own();
  const hex = '00ff1b5b306dc328';
  await log({ write: [{ hex: `${hex}0a` }] });
  assert.deepEqual(await all(await client.logs(pod)), [Buffer.from(`${hex}0a`, 'hex')]);
});

test('a point in time may be a Date', LIMIT, async () => {
  for (const [time, count] of [['2026-11-01T08:00:05Z', 100], ['2026-11-01T08:00:06Z', 0]]) {
    const logs = await client.logs('web-0', { sinceTime: new Date(time) });
    assert.equal((await all(logs)).length, count, time);
  }
});

test('what happens is told beside the lines, at its place, to all who listen', LIMIT, async () => {
  const { pod, log, write } = await own('1', '2');
  const logs = await client.logs(pod, follow);
  const seen = [];
  for (const name of ['reconnected', 'gap', 'restarted', 'event']) {
    logs.on(name, (event) => seen.push(name === 'event' ? event : name));
  }
  const told = all(logs.events());
  const lines = logs.lines({ encoding: 'utf8' });
  const next = async () => (await lines.next()).value;
  const cut = async () => {
    await log({ await_follows: 1 });
    await log({ cut: 'rst' });
  };
  assert.deepEqual([await next(), await next()], ['1\n', '2\n']);
  await cut();
  await write('3');
  assert.equal(await next(), '3\n');
  const [name, mended] = seen;
  assert.equal(name, 'reconnected');
  assert.equal(mended.kind, 'reconnected');
  assert.deepEqual(mended.source, { namespace: 'default', pod, container: 'app' });
  assert.ok(mended.away > 0 && mended.away < 10 && mended.why.length > 0, JSON.stringify(mended));
  seen.length = 0;
  // The file that held what comes next is gone before we are back.
  await log({ await_follows: 1 });
  await log({ cut: 'rst' }, { write: [{ text: 'lost\n' }] }, { rotate: true }, { write: [{ text: '4\n' }] });
  assert.equal(await next(), '4\n');
  const gap = seen.find(({ kind }) => kind === 'gap');
  assert.equal(gap.certain, true);
  assert.ok(typeof gap.from === 'bigint' && (gap.to === null || gap.to > gap.from), String(gap.to));
  assert.ok(seen.includes('gap') && seen.includes('reconnected'));
  await log({ await_follows: 1 });
  await log({ restart: true }, { write: [{ text: '5\n' }] });
  assert.equal(await next(), '5\n');
  const restarted = seen.find(({ kind }) => kind === 'restarted');
  assert.deepEqual([restarted.count, restarted.unseen], [1, 0]);
  await log({ await_follows: 1 });
  await log({ exit: 7 });
  assert.equal((await lines.next()).done, true);
  assert.deepEqual(await logs.end, { kind: 'ended', exitCode: 7 });
  const kinds = (await told).map(({ kind }) => kind);
  const count = (wanted) => kinds.filter((kind) => kind === wanted).length;
  assert.deepEqual([kinds[0], count('restarted')], ['reconnected', 1]);
  const { gaps, reconnects, protocol } = logs.report();
  assert.deepEqual([gaps, reconnects, protocol], [count('gap'), count('reconnected'), 'binary.k8s.io']);
  assert.ok(kinds.indexOf('gap') < kinds.indexOf('restarted'), kinds.join());
});

test('a listener may end it: a gap that is too much', LIMIT, async () => {
  const { pod, log } = await own('1');
  const logs = await client.logs(pod, follow);
  logs.on('reconnected', () => logs.abort('too much'));
  const reading = fails(text(logs.chunks()), 'ABORT_ERR');
  await log({ await_follows: 1 });
  await log({ cut: 'rst' }, { write: [{ text: '2\n' }] });
  assert.equal((await reading).cause, 'too much');
  await fails(logs.end, 'ABORT_ERR');
});

test('a listener that throws ends neither the log nor the other listeners', LIMIT, async () => {
  const { pod } = await own('1');
  const { stdout, stderr, code } = await program(
    `
    import { controlled } from '${new URL('./support.mjs', import.meta.url)}';
    const log = controlled(kubeconfig, '${pod}');
    process.on('uncaughtException', ({ message }) => console.log('uncaught', message));
    const logs = await client.logs('${pod}', { follow: true });
    logs.on('reconnected', () => { throw new RangeError('mine'); });
    logs.on('event', ({ kind }) => console.log(kind));
    const lines = logs.lines({ encoding: 'utf8' });
    console.log((await lines.next()).value.trim());
    await log({ await_follows: 1 });
    await log({ cut: 'rst' }, { write: [{ text: '2\\n' }] });
    console.log((await lines.next()).value.trim());
    await logs.close();`,
    kubeconfig,
  );
  assert.equal(code, 0, stderr);
  assert.deepEqual(stdout.trim().split('\n').sort(), ['1', '2', 'reconnected', 'uncaught mine']);
});

test('events wait in a bounded place, and gaps are never left out', LIMIT, async () => {
  const source = { namespace: 'n', pod: 'p', container: 'c' };
  const events = new Events('this log', fold);
  const gap = (from) => events.push({ kind: 'gap', source, certain: from === 1n, from, to: from + 1n });
  for (let index = 0n; index < 100n; index++) gap(index);
  for (let index = 0; index < 2000; index++) events.push({ kind: 'reconnected', source, away: index, why: '' });
  events.end();
  const kept = await all(events.open());
  assert.equal(kept.length, 1000);
  assert.equal(kept.filter(({ kind }) => kind === 'gap').length, 100);
  assert.deepEqual([kept[0].from, kept[99].omitted, kept[100].omitted, kept[101].omitted], [0n, undefined, 1100, undefined]);
  assert.equal(kept.at(-1).away, 1999);
  // Nothing but gaps: of one log they become one, of many logs they all stay.
  const full = new Events('this log', fold);
  for (let index = 0n; index < 2000n; index++) {
    full.push({ kind: 'gap', source, certain: index === 7n, from: index * 2n, to: index * 2n + 1n });
  }
  full.end();
  const [merged, ...rest] = await all(full.open());
  assert.deepEqual(merged, { kind: 'gap', source, certain: true, from: 0n, to: 2001n, omitted: 1000 });
  assert.deepEqual(rest.map(({ from }) => from), Array.from({ length: 999 }, (_, index) => BigInt(2002 + index * 2)));
  const many = new Events('this log', fold);
  for (let index = 0; index < 2000; index++) {
    many.push({ kind: 'gap', source: { ...source, pod: `p${index}` }, certain: true, from: 1n, to: 2n });
  }
  many.end();
  assert.equal((await all(many.open())).length, 2000);
});

test('events have one reader at a time, who may leave', LIMIT, async () => {
  const logs = await client.logs('web-0');
  const events = logs.events();
  await fails(() => logs.events(), 'invalid');
  const waiting = events.next();
  await events.return();
  assert.deepEqual([(await waiting).done, (await events.next()).done], [true, true]);
  const again = all(logs.events());
  assert.equal((await all(logs)).length, 100);
  assert.deepEqual(await again, []);
});

test('a log is read in one way only', LIMIT, async () => {
  const read = (await client.logs('web-0'));
  const lines = read.lines();
  await fails(() => read.batches(), 'invalid');
  await fails(() => read.lines(), 'invalid');
  const heard = once(read.chunks(), 'error');
  read.chunks().read();
  assert.equal((await heard)[0].code, 'invalid');
  await fails(lines.next(), 'invalid');
  const flowing = await client.logs('web-0');
  assert.equal(flowing.chunks(), flowing.chunks());
  flowing.chunks().resume();
  await fails(() => flowing.batches(), 'invalid');
  await fails(() => flowing.lines({ encoding: 'klingon' }), 'invalid');
});

test('what fails is told to the reader after the last line, and by the end', LIMIT, async () => {
  for (const read of [(logs) => all(logs), (logs) => all(logs.batches()), (logs) => text(logs.chunks())]) {
    const logs = await client.logs('nolog-0');
    const error = await fails(read(logs), 'forbidden');
    assert.equal(error.httpStatus, 403);
    assert.equal(await fails(logs.end, 'forbidden'), error);
  }
  // Nobody reads.
  const unread = await client.logs('nolog-0');
  await fails(unread.end, 'forbidden');
  assert.deepEqual(await (await client.logs('web-0')).end, { kind: 'complete', exitCode: null });
  const { pod, log } = await own('1', '2');
  await log({ cut_after_bytes: 3, then: 'rst' });
  const lines = [];
  const cut = await client.logs(pod);
  await fails(async () => {
    for await (const line of cut.lines({ encoding: 'utf8' })) lines.push(line);
  }, 'lost');
  assert.deepEqual(lines, ['1\n', '2']);
});

test('who reads slowly holds up the kubelet', LIMIT, async () => {
  const slow = await client.logs('lines-0', { container: '1g', follow: true });
  const chunks = slow.chunks()[Symbol.asyncIterator]();
  await chunks.next();
  // Much more would have come in the meantime.
  const { pod, log } = await own();
  await log({ lines: '16M' }, { exit: 0 });
  assert.equal((await buffer((await client.logs(pod, follow)).chunks())).length, 16_777_200);
  assert.ok(slow.report().bytes < 4 * 1024 * 1024, String(slow.report().bytes));
  await slow.close();
});

test('a browser that is slow holds up the kubelet, by way of an HTTP response', LIMIT, async () => {
  const logs = await client.logs('lines-0', { container: '1g', follow: true });
  const server = createServer((_, response) => pipeline(logs.chunks(), response).catch(() => {}));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const [page] = await once(get({ port: server.address().port }), 'response');
  page.pause();
  // What both kernels hold comes, and then nothing does.
  for (let [before, bytes] = [-1, 0]; before < bytes; await sleep(500)) [before, bytes] = [bytes, logs.report().bytes];
  assert.ok(logs.report().bytes < 64 * 1024 * 1024, String(logs.report().bytes));
  // The browser leaves, and the log with it.
  page.destroy();
  await fails(logs.end, 'closed');
  server.close();
});

test('a slow consumer of lines does not fill the memory', LIMIT, async () => {
  const { pod, log } = await own();
  await log({ lines: '64M' }, { exit: 0 });
  const { stdout, stderr, code } = await program(
    `
    import { setImmediate as turn } from 'node:timers/promises';
    const logs = await client.logs('${pod}', { follow: true });
    let [first, most, count] = [0, 0, 0];
    for await (const line of logs.lines()) {
      if (++count % 1000 !== 0) continue;
      const { rss } = process.memoryUsage();
      first ||= rss;
      most = Math.max(most, rss);
      await turn();
    }
    console.log(JSON.stringify({ count, grown: most - first, ...(await logs.end) }));`,
    kubeconfig,
    { context: 'plain' },
  );
  assert.equal(code, 0, stderr);
  const { count, grown, kind } = JSON.parse(stdout);
  assert.deepEqual([count, kind], [671_088, 'ended']);
  assert.ok(grown <= 64 * 1024 * 1024, `grew by ${grown / 1024 / 1024} MB`);
});

test('leaving, an abort and a close end the connection within 1 s', LIMIT, async () => {
  const { client, closed } = await watched(kubeconfig);
  const { pod, log } = await own('1');
  const ways = {
    break: async (logs) => {
      for await (const _ of logs) break;
      await fails(logs.end, 'closed');
    },
    'break of batches': async (logs) => {
      for await (const _ of logs.batches()) break;
      await fails(logs.end, 'closed');
    },
    'break of chunks': async (logs) => {
      for await (const _ of logs.chunks()) break;
      await fails(logs.end, 'closed');
    },
    'a consumer that throws': async (logs) => {
      await assert.rejects(async () => {
        for await (const _ of logs) throw new RangeError('mine');
      }, RangeError);
    },
    'a destination that fails': async (logs) => {
      const sink = new Writable({ write: (_chunk, _encoding, done) => done(new RangeError('mine')) });
      await assert.rejects(pipeline(logs.chunks(), sink), RangeError);
    },
    abort: async (logs) => {
      const read = all(logs);
      const events = all(logs.events());
      logs.abort('why');
      for (const failing of [read, logs.end]) assert.equal((await fails(failing, 'ABORT_ERR')).cause, 'why');
      assert.deepEqual(await events, []);
    },
    close: async (logs) => {
      const read = fails(text(logs.chunks()), 'closed');
      await logs.close();
      await read;
    },
    dispose: (logs) => logs[Symbol.asyncDispose](),
    'the end of the client': async (logs) => {
      await client.close();
      await fails(logs.end, 'closed');
    },
  };
  let count = 0;
  for (const [name, leave] of Object.entries(ways)) {
    const logs = await client.logs(pod, follow);
    await log({ await_follows: 1 });
    await leave(logs);
    await closed(++count).catch((error) => assert.fail(`${name}: ${error}`));
  }
  await fails(() => client.logs(pod), 'closed');
});

test('a signal ends a log whenever it comes, and is left alone afterwards', LIMIT, async () => {
  const { client, closed } = await watched(kubeconfig);
  const { pod, log } = await own('1');
  const listeners = (signal) => getEventListeners(signal, 'abort').length;
  assert.equal((await fails(() => client.logs(pod, { signal: AbortSignal.abort('early') }), 'ABORT_ERR')).cause, 'early');
  // While it is under way: the server answers nothing.
  const silent = await Client.connect({ kubeconfig, context: 'silent' });
  const midway = new AbortController();
  const asked = silent.logs(pod, { signal: midway.signal });
  setImmediate(() => midway.abort('midway'));
  assert.equal((await fails(asked, 'ABORT_ERR')).cause, 'midway');
  assert.equal(listeners(midway.signal), 0);
  const controller = new AbortController();
  const { signal } = controller;
  const short = await client.logs('web-0', { signal });
  assert.equal((await all(short)).length, 100);
  await short.end;
  assert.equal(listeners(signal), 0);
  const long = await client.logs(pod, { ...follow, signal });
  const lines = long.lines({ encoding: 'utf8' });
  assert.equal((await lines.next()).value, '1\n');
  const failing = [fails(lines.next(), 'ABORT_ERR'), fails(long.end, 'ABORT_ERR')];
  await log({ await_follows: 1 });
  controller.abort('late');
  for (const error of await Promise.all(failing)) assert.equal(error.cause, 'late');
  await closed(1);
  assert.equal(listeners(signal), 0);
  assert.deepEqual(await short.end, { kind: 'complete', exitCode: null });
});
