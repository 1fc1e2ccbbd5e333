// The floor for Node: its own socket counts what comes, and parses nothing but the last four bytes.
//
// KUBECONFIG chunks TOTAL FRAME [1]
//
// With 1 it reads into one piece of memory again and again, which nobody may do who hands out buffers:
// what receiving costs without the memory.

import { connect } from 'node:net';
import { Chunks } from './count.mjs';
import { Measure, given, server } from './measure.mjs';

const { kubeconfig, numbers } = given();
const [total, frame, again] = numbers;
const { hostname, port } = new URL(server(kubeconfig));
const query = new URLSearchParams({ container: 'app', stdout: 'true', stderr: 'true' });
for (const word of ['gen', total, frame]) query.append('command', word);
const request = [
  `GET /api/v1/namespaces/default/pods/web-0/exec?${query} HTTP/1.1`,
  `Host: ${hostname}`,
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Protocol: v4.channel.k8s.io',
];
/// Close with code 1000, unmasked: the server's last word.
const LAST = Buffer.from([0x88, 2, 0x03, 0xe8]);

const count = new Chunks();
const measure = new Measure();
const take = (chunk) => {
  count.take(chunk);
  if (chunk.subarray(-LAST.length).equals(LAST)) socket.end();
};
const onread = { buffer: Buffer.alloc(64 * 1024), callback: (size, buffer) => take(buffer.subarray(0, size)) };
const socket = connect({ port: Number(port), host: hostname, ...(again && { onread }) });
socket.write(`${request.join('\r\n')}\r\n\r\n`);
if (!again) socket.on('data', take);
// Head and frames are counted too, far below one in a thousand.
socket.on('close', () => measure.finish(count.items, Math.min(count.bytes, total)));
