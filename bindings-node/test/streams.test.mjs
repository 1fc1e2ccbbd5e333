// Bytes, lines, back-pressure, and how streams end.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { EventEmitter, getEventListeners, once } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Client } from '../index.mjs';
import { cluster, fails, program, watched } from './support.mjs';

const kubeconfig = await cluster();
const client = await Client.connect({ kubeconfig });

const sh = (line, options) => client.exec('web-0', ['sh', '-c', line], options);
const fault = (what, ...command) => ['@fault', JSON.stringify(what), ...command];
// A reset may overtake what the kernel still holds; an end may not.
const LOST = fault({ after_bytes: 100_000, then: 'fin' }, 'gen', '1M');

test('bytes go through pipeline in both directions, unchanged', async () => {
  const data = randomBytes(8 * 1024 * 1024);
  const cat = await client.exec('web-0', ['cat'], { stdin: true });
  const hash = createHash('sha256');
  await Promise.all([pipeline(Readable.from([data]), cat.stdin), pipeline(cat.stdout, hash)]);
  assert.equal(hash.digest('hex'), createHash('sha256').update(data).digest('hex'));
  assert.deepEqual(await cat.exit, { code: 0, confidence: 'checked' });
  assert.deepEqual([cat.exitCode, cat.status.code, cat.protocol], [0, 0, 'v5.channel.k8s.io']);
});

test('lines keep their line feed, and the last one may have none', async () => {
  const printed = await sh("printf 'a\\n\\nsé\\nlast'");
  const lines = [];
  for await (const line of printed.stdout.lines()) lines.push(line);
  assert.deepEqual(lines, ['a\n', '\n', 'sé\n', 'last'].map((line) => Buffer.from(line)));
  const again = await sh("printf 's\\303'; sleep 0.1; printf '\\251\\n'");
  const decoded = [];
  for await (const line of again.stdout.lines({ encoding: 'utf8' })) decoded.push(line);
  assert.deepEqual(decoded, ['sé\n']);
});

test('a character that lies across two pieces of a long line stays whole in text', async () => {
  const printed = await sh("yes € | tr -d '\\n' | head -c 3000000; printf 'ä\\nsé\\na\\360\\237'");
  const lines = [];
  for await (const line of printed.stdout.lines({ encoding: 'utf8' })) lines.push(line);
  assert.ok(lines.length > 3, String(lines.length));
  assert.ok(lines.join('') === `${'€'.repeat(1_000_000)}ä\nsé\na\ufffd`);
});

test('many lines come in their order, to many who ask at once', async () => {
  const counted = await client.exec('web-0', ['seq', '20000']);
  const lines = counted.stdout.lines({ encoding: 'latin1' });
  const asked = [];
  for (let index = 0; index < 20_001; index++) asked.push(lines.next());
  const answers = await Promise.all(asked);
  assert.deepEqual(answers.pop(), { value: undefined, done: true });
  assert.deepEqual(answers.map(({ value }) => Number(value)), Array.from({ length: 20_000 }, (_, i) => i + 1));
});

test('a stream is read in one way only', async () => {
  const process = await sh('echo x');
  const lines = process.stdout.lines();
  await fails(() => process.stdout.lines(), 'invalid');
  const heard = once(process.stdout, 'error');
  process.stdout.read();
  assert.equal((await heard)[0].code, 'invalid');
  await fails(lines.next(), 'invalid');
  const other = await sh('echo x');
  other.stdout.resume();
  await fails(() => other.stdout.lines(), 'invalid');
  await fails(() => other.stderr.lines({ encoding: 'klingon' }), 'invalid');
});

test('both outputs and input flow while one of them waits', async () => {
  const process = await sh('cat; cat <&0 >&2; echo done >&2', { stdin: true });
  const stderr = text(process.stderr);
  const got = text(process.stdout);
  process.stdin.write('1');
  await sleep(20);
  process.stdin.end('2');
  assert.deepEqual([await got, await stderr], ['12', 'done\n']);
});

test('a slow consumer holds the sender up, in 32 MB', { timeout: 60_000 }, async () => {
  const { stdout, stderr, code } = await program(
    `
    import { setTimeout as sleep } from 'node:timers/promises';
    const process_ = await client.exec('web-0', ['gen', '256M']);
    let [first, most, bytes] = [0, 0, 0];
    for await (const chunk of process_.stdout) {
      bytes += chunk.length;
      const { rss } = process.memoryUsage();
      first ||= rss;
      most = Math.max(most, rss);
      await sleep(1);
    }
    console.log(JSON.stringify({ bytes, grown: most - first, ...(await process_.exit) }));`,
    kubeconfig,
    { context: 'plain' },
  );
  assert.equal(code, 0, stderr);
  const { bytes, grown, code: ended } = JSON.parse(stdout);
  assert.deepEqual([bytes, ended], [256 * 1024 * 1024, 0]);
  assert.ok(grown <= 32 * 1024 * 1024, `grew by ${grown / 1024 / 1024} MB`);
});

test('a flood leaves others their turn', { timeout: 60_000 }, async () => {
  const plain = await Client.connect({ kubeconfig, context: 'plain' });
  // Slower than the flood, so that there is always more.
  const busy = () => {
    for (const until = performance.now() + 1; performance.now() < until; );
  };
  const ways = {
    data: ['gen', 1, ({ stdout }, take) => once(stdout.on('data', take), 'end')],
    bytes: ['gen', 1, async ({ stdout }, take) => {
      for await (const chunk of stdout) take(chunk);
    }],
    lines: ['lines', 1000, async ({ stdout }, take) => {
      for await (const line of stdout.lines()) take(line);
    }],
  };
  for (const [name, [command, every, read]] of Object.entries(ways)) {
    const process = await plain.exec('web-0', [command, '32M']);
    let [count, all, breath, most] = [0, 0, 0, 0];
    let next = setImmediate(function turn() {
      most = Math.max(most, breath);
      breath = 0;
      next = setImmediate(turn);
    });
    await read(process, ({ length }) => {
      all += length;
      breath += length;
      if (++count % every === 0) busy();
    });
    clearImmediate(next);
    assert.equal(all, 32 * 1024 * 1024, name);
    most = Math.max(most, breath);
    assert.ok(most < 4 * 1024 * 1024, `${name}: ${most} bytes in one breath`);
  }
});

test('who reads nothing takes nothing: the server is held up', async () => {
  const process = await client.exec('web-0', ['gen', '64M']);
  await sleep(300);
  assert.equal(process.status, null);
  process.stdout.resume();
  assert.equal((await process.exit).code, 0);
});

test('stdin is held up while nobody reads it', async () => {
  const process = await sh('sleep 0.5; wc -c', { stdin: true });
  const counted = text(process.stdout);
  const chunk = Buffer.alloc(1024 * 1024);
  let ended = false;
  const done = pipeline(
    Readable.from((function* () {
      for (let index = 0; index < 8; index++) yield chunk;
    })()),
    process.stdin,
  ).then(() => (ended = true));
  await sleep(200);
  assert.equal(ended, false);
  await done;
  assert.equal((await counted).trim(), String(8 * 1024 * 1024));
});

test('a write that waits for room is answered when its stream is left', { timeout: 10_000 }, async () => {
  for (const [leave, code] of [
    [({ stdin }) => stdin.destroy(), 'closed'],
    [({ stdin }) => stdin.on('error', () => {}).destroy(Object.assign(new Error(), { code: 'mine' })), 'mine'],
    [(process) => process.abort(), 'ABORT_ERR'],
    [(process) => process.close(), 'closed'],
  ]) {
    const process = await sh('sleep 30', { stdin: true });
    let answers = 0;
    const [written, queued] = [1, 2].map(() => new Promise((answered) => {
      process.stdin.write(Buffer.alloc(8 * 1024 * 1024), (why) => (answers++, answered(why)));
    }));
    await leave(process);
    assert.equal((await written)?.code, code);
    assert.ok(await queued);
    await process.exit.catch(() => {});
    assert.equal(answers, 2);
  }
});

test('a lost connection is an error everywhere, after all that came', async () => {
  const process = await client.exec('web-0', LOST);
  let [bytes, ended] = [0, false];
  process.stdout.on('end', () => (ended = true));
  const error = await fails(async () => {
    for await (const chunk of process.stdout) {
      bytes += chunk.length;
      await sleep(5);
    }
  }, 'lost');
  assert.equal(await fails(process.exit, 'lost'), error);
  assert.deepEqual([bytes, ended, error.mayHaveStarted], [100_000, false, true]);
  assert.equal(error.stdoutBytes, 100_000);
  const sink = new Writable({ write: (_chunk, _, done) => setImmediate(done) });
  await fails(pipeline((await client.exec('web-0', LOST)).stdout, sink), 'lost');
  const lines = (await client.exec('web-0', LOST)).stdout.lines();
  await fails(async () => {
    for await (const _ of lines);
  }, 'lost');
  assert.deepEqual(await lines.next(), { value: undefined, done: true });
});

test('a missing status settles within 5 s', async () => {
  for (const what of [{ status: 'missing' }, { after_bytes: 1024, then: 'fin' }, { after_bytes: 0, then: 'rst' }]) {
    const begin = Date.now();
    const process = await client.exec('web-0', fault(what, 'gen', '1k'));
    const read = text(process.stdout);
    await fails(process.exit, 'lost');
    await fails(read, 'lost');
    assert.ok(Date.now() - begin < 5000);
  }
});

test('leaving a stream, an abort and a close end the connection within 1 s', async () => {
  const { client, closed } = await watched(kubeconfig);
  const running = () => client.exec('web-0', ['gen', '1G']);
  const ways = {
    'break of bytes': async (process) => {
      for await (const _ of process.stdout) break;
      await fails(process.exit, 'closed');
    },
    'break of lines': async (process) => {
      for await (const _ of process.stdout.lines()) break;
      await fails(process.exit, 'closed');
    },
    'a consumer that throws': async (process) => {
      await assert.rejects(async () => {
        for await (const _ of process.stdout) throw new RangeError('mine');
      }, RangeError);
    },
    'a destination that fails': async (process) => {
      const sink = new Writable({ write: (_chunk, _encoding, done) => done(new RangeError('mine')) });
      await assert.rejects(pipeline(process.stdout, sink), RangeError);
    },
    abort: async (process) => {
      const read = text(process.stdout);
      process.abort('why');
      for (const failing of [read, process.exit]) assert.equal((await fails(failing, 'ABORT_ERR')).cause, 'why');
    },
    close: async (process) => {
      const read = fails(text(process.stdout), 'closed');
      await process.close();
      await read;
    },
    dispose: (process) => process[Symbol.asyncDispose](),
    'the end of the client': async (process) => {
      await client.close();
      await fails(process.exit, 'closed');
    },
  };
  let count = 0;
  for (const [name, leave] of Object.entries(ways)) {
    await leave(await running());
    await closed(++count).catch((error) => assert.fail(`${name}: ${error}`));
  }
  await fails(() => running(), 'closed');
  await fails(() => client.run('web-0', ['true']), 'closed');
  await fails(() => client.version(), 'closed');
});

test('a signal ends what is under way, whenever it comes, and is left alone afterwards', async () => {
  const { client: slow, closed } = await watched(kubeconfig);
  const listeners = (signal) => getEventListeners(signal, 'abort').length;
  const early = AbortSignal.abort('early');
  for (const call of [
    () => Client.connect({ kubeconfig, signal: early }),
    () => client.version({ signal: early }),
    () => client.exec('web-0', ['true'], { signal: early }),
    () => client.run('web-0', ['true'], { signal: early }),
  ]) {
    assert.equal((await fails(call, 'ABORT_ERR')).cause, 'early');
  }
  // While it is under way: the server answers nothing.
  const silent = await Client.connect({ kubeconfig, context: 'silent' });
  for (const call of ['exec', 'run']) {
    const controller = new AbortController();
    const asked = silent[call]('web-0', ['true'], { signal: controller.signal });
    setImmediate(() => controller.abort('midway'));
    assert.equal((await fails(asked, 'ABORT_ERR')).cause, 'midway');
    assert.equal(listeners(controller.signal), 0);
  }
  const controller = new AbortController();
  const { signal } = controller;
  const done = await slow.run('web-0', ['echo', 'x'], { signal });
  assert.equal(done.exitCode, 0);
  const short = await slow.exec('web-0', ['echo', 'x'], { signal });
  await text(short.stdout);
  assert.equal(listeners(signal), 0);
  await closed(2);
  const long = await slow.exec('web-0', ['sleep', '30'], { signal });
  const capture = slow.run('web-0', ['sleep', '30'], { signal });
  const failing = [fails(text(long.stdout), 'ABORT_ERR'), fails(long.exit, 'ABORT_ERR'), fails(capture, 'ABORT_ERR')];
  await sleep(100);
  controller.abort('late');
  for (const error of await Promise.all(failing)) assert.equal(error.cause, 'late');
  await closed(4);
  assert.equal(listeners(signal), 0);
  assert.deepEqual(await short.exit, { code: 0, confidence: 'confirmed' });
});

/** A command that has ended, and whose end is told. */
async function ended(command) {
  const process = await sh(command, { stdin: true });
  await process.exit;
  return process;
}

test('input that nobody takes is an error, and never a clean end', async () => {
  const over = await sh('exit 3', { stdin: true });
  assert.equal((await over.exit).code, 3);
  const [error] = await Promise.all([once(over.stdin, 'error'), new Promise((done) => over.stdin.write('x', done))]);
  assert.equal(error[0].code, 'closed');
  // A pipe into it ends, too, though its source says nothing more.
  const gone = await sh('exit 4', { stdin: true });
  await fails(pipeline(new Readable({ read() {} }), gone.stdin), 'closed');
  assert.equal((await gone.exit).code, 4);
  // Nor does it matter which comes first.
  await fails(pipeline(new Readable({ read() {} }), (await ended('exit 5')).stdin), 'closed');
  // Input that is refused does not hide why: the outcome comes later, and is the truth.
  for (const [command, settles] of [
    [['true'], async (exit) => assert.equal((await exit).code, 0)],
    [LOST, (exit) => fails(exit, 'lost')],
  ]) {
    for (let round = 0; round < 5; round++) {
      const early = await client.exec('web-0', command, { stdin: true });
      early.stdout.on('error', () => {}).resume();
      const endless = new Readable({ read() { this.push(Buffer.alloc(10_000)); } });
      await fails(pipeline(endless, early.stdin), 'closed');
      await settles(early.exit);
    }
  }
  // A source that fails must not look like the end of the input.
  const upload = await sh('wc -c', { stdin: true });
  const source = Readable.from((function* () {
    yield 'half';
    throw new RangeError('mine');
  })());
  await assert.rejects(pipeline(source, upload.stdin), RangeError);
  await fails(upload.exit, 'closed');
});

/** Presses Enter until the terminal says this size. */
async function untilSize(process, lines, wanted) {
  for (let said; said !== wanted; ) {
    process.stdin.write('\n');
    do said = (await lines.next()).value.trim();
    while (!/^\d/.test(said));
  }
}

const SIZES = 'stty size; while read x; do stty size; done';

test('a size is said to the terminal, at the start and later', { timeout: 10_000 }, async () => {
  const size = { columns: 90, rows: 30 };
  const process = await sh(SIZES, { tty: true, stdin: true, size });
  const lines = process.stdout.lines({ encoding: 'utf8' });
  // The first size travels behind the start, so the shell may look before it is there.
  await untilSize(process, lines, '30 90');
  process.resize({ columns: 100, rows: 40 });
  await untilSize(process, lines, '40 100');
  assert.equal(process.stderr, null);
  await fails(() => process.resize({ columns: 'wide' }), 'invalid');
  process.stdin.end();
  for await (const _ of lines);
  assert.equal((await process.exit).confidence, 'confirmed');
});

test('a terminal is followed until the end', { timeout: 10_000 }, async () => {
  const terminal = Object.assign(new EventEmitter(), { columns: 70, rows: 20 });
  const process = await sh(SIZES, { tty: true, stdin: true });
  const stop = process.followResize(terminal);
  const lines = process.stdout.lines({ encoding: 'utf8' });
  await untilSize(process, lines, '20 70');
  terminal.columns = 71;
  terminal.emit('resize');
  await untilSize(process, lines, '20 71');
  process.stdin.end();
  for await (const _ of lines);
  await process.exit;
  assert.equal(terminal.listenerCount('resize'), 0);
  stop[Symbol.dispose]();
});
