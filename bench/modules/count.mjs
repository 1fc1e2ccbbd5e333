// What a consumer of a peer does with what it gets.

/// Strings, one for each line.
export class Lines {
  items = 0;
  bytes = 0;
  rest = '';

  take(chunk) {
    const lines = (this.rest + chunk.latin1Slice()).split('\n');
    this.rest = lines.pop();
    for (const line of lines) {
      this.items += 1;
      this.bytes += line.length + 1;
    }
  }
}

/// Buffers as they come.
export class Chunks {
  items = 0;
  bytes = 0;

  take(chunk) {
    if (chunk.length === 0) return;
    this.items += 1;
    this.bytes += chunk.length;
  }
}
