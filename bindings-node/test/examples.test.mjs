// The examples do what they say.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { cluster } from './support.mjs';

const run = promisify(execFile);
const KUBECONFIG = await cluster();

test('exec-stream copies a folder into a pod, or says why not', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'wsx-from-'));
  const remote = await mkdtemp(join(tmpdir(), 'wsx-to-'));
  const script = fileURLToPath(new URL('../examples/exec-stream.mjs', import.meta.url));
  const copy = (to) => run(process.execPath, [script, folder, 'web-0:app', to], { env: { ...process.env, KUBECONFIG } });
  try {
    const data = Buffer.alloc(3_000_000, 'wsx\n');
    await writeFile(join(folder, 'large'), data);
    // The pods of the embedded cluster share the disk of this machine.
    const { stdout } = await copy(remote);
    assert.equal(stdout, `copied ${folder} to web-0:${remote}\n`);
    assert.ok(data.equals(await readFile(join(remote, 'large'))));
    await assert.rejects(copy(join(remote, 'none')), ({ code, stderr }) => code === 1 && /Error/.test(stderr));
  } finally {
    for (const each of [folder, remote]) await rm(each, { recursive: true });
  }
});
