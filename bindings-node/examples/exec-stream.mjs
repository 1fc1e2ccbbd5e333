// Copies a folder into a pod: a local `tar` is piped into a remote one.
//
//     node exec-stream.mjs FOLDER POD[:CONTAINER] REMOTE_FOLDER
//
// Back-pressure holds the local tar up when the pod is slow; a failure on either side is an error here.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';

import { Client } from 'kubectl-wsx';

const [folder, where, remote] = process.argv.slice(2);
const [pod, container] = where.split(':');

const client = await Client.connect();
const unpack = await client.exec(pod, ['tar', 'xf', '-', '-C', remote], {
  container,
  stdin: true,
  stdout: false,
});
const complaint = text(unpack.stderr);
const pack = spawn('tar', ['cf', '-', '-C', folder, '.'], { stdio: ['ignore', 'pipe', 'inherit'] });

const [[packed], , { code }, words] = await Promise.all([
  once(pack, 'close'),
  // The end of the local tar becomes the end of the remote one's input.
  pipeline(pack.stdout, unpack.stdin),
  unpack.exit,
  complaint,
]);
if (packed !== 0) throw new Error(`the local tar ended with ${packed}`);
if (code !== 0) throw new Error(`the remote tar ended with ${code}: ${words}`);
console.log(`copied ${folder} to ${pod}:${remote}`);
await client.close();
