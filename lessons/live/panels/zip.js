// A ZIP archive of a few small files: written without compression, read with or without.
//
//     for each file: header, name, content | for each file: an entry with its place | the end: how many, and where

const table = Array.from({ length: 256 }, (_, n) => { // of the checksum CRC-32, a byte at a time
  for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});
export const checksum = (bytes) => ~bytes.reduce((crc, b) => (crc >>> 8) ^ table[(crc ^ b) & 255], -1) >>> 0;

// fields: [number of bytes, value] one after the other, little-endian
function packed(...fields) {
  const bytes = new Uint8Array(fields.reduce((sum, [width]) => sum + width, 0)), view = new DataView(bytes.buffer);
  let at = 0;
  for (const [width, value] of fields) {
    if (width === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += width;
  }
  return bytes;
}

const DATE = (46 << 9) | (1 << 5) | 1; // 1 January 2026: the same files make the same archive

export function writeZip(files) { // {name: Uint8Array} -> Uint8Array
  const pieces = [], entries = [];
  let place = 0;
  const put = (list, ...bytes) => { for (const b of bytes) list.push(b); };
  for (const [name, content] of Object.entries(files)) {
    const title = new TextEncoder().encode(name), crc = checksum(content), size = content.length;
    const facts = [[2, 20], [2, 0x800], [2, 0], [2, 0], [2, DATE], [4, crc], [4, size], [4, size], [2, title.length], [2, 0]];
    put(pieces, packed([4, 0x04034b50], ...facts), title, content);
    put(entries, packed([4, 0x02014b50], [2, 20], ...facts, [2, 0], [2, 0], [2, 0], [4, 0], [4, place]), title);
    place += 30 + title.length + size;
  }
  const number = Object.keys(files).length, size = entries.reduce((sum, b) => sum + b.length, 0);
  put(entries, packed([4, 0x06054b50], [2, 0], [2, 0], [2, number], [2, number], [4, size], [4, place], [2, 0]));
  return joined([...pieces, ...entries]);
}

export function joined(pieces) {
  const whole = new Uint8Array(pieces.reduce((sum, b) => sum + b.length, 0));
  let at = 0;
  for (const piece of pieces) { whole.set(piece, at); at += piece.length; }
  return whole;
}

const MOST = 64 * 2 ** 20; // bytes of a file: an adapter of this base has less than one megabyte

export async function readZip(bytes) { // Uint8Array -> {name without folders: Uint8Array}
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), files = {};
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new Error("it is no ZIP archive, or was cut off");
  let at = view.getUint32(end + 16, true);
  for (let n = view.getUint16(end + 10, true); n > 0; n--) {
    if (at + 46 > bytes.length || view.getUint32(at, true) !== 0x02014b50) throw new Error("the ZIP archive is damaged");
    const [length, extra, comment] = [28, 30, 32].map((k) => view.getUint16(at + k, true));
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + length));
    if (!name.endsWith("/")) files[name.split("/").at(-1)] = await content(bytes, view, at);
    at += 46 + length + extra + comment;
  }
  return files;
}

async function content(bytes, view, at) {
  const method = view.getUint16(at + 10, true), size = view.getUint32(at + 20, true), place = view.getUint32(at + 42, true);
  if (view.getUint32(at + 24, true) > MOST) throw new Error("a file in it is larger than any adapter of this base");
  const begin = place + 30 + view.getUint16(place + 26, true) + view.getUint16(place + 28, true), stored = bytes.slice(begin, begin + size);
  if (method === 0) return stored;
  if (method !== 8 || typeof DecompressionStream === "undefined") throw new Error("this browser cannot unpack it: unpack it, and open the two files");
  const stream = new Blob([stored]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
