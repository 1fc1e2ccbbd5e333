// A floor for Node: a Readable whose bytes come from nowhere. It allocates what it hands out and copies
// into it, as whoever hands out buffers must, and that is all: no socket, no WebSocket, no other thread.
//
// KUBECONFIG chunks TOTAL FRAME

import { Readable } from 'node:stream';
import { Chunks } from './count.mjs';
import { Measure, given } from './measure.mjs';

const PIECE = 512 * 1024; // as ours

const { numbers } = given();
const [total] = numbers;
const source = Buffer.alloc(PIECE, 'x');
let sent = 0;
const stdout = new Readable({
  highWaterMark: PIECE,
  read() {
    if (sent === total) return this.push(null);
    const piece = Buffer.allocUnsafeSlow(Math.min(PIECE, total - sent));
    source.copy(piece);
    sent += piece.length;
    this.push(piece);
  },
});

const count = new Chunks();
const measure = new Measure();
stdout.on('data', (chunk) => count.take(chunk));
stdout.on('end', () => measure.finish(count.items, count.bytes));
