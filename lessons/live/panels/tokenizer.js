// From text to numbers: the byte-level BPE of GPT-2. The same as minilora/text/byte_bpe.py, with the same ids.
//
//     text -> added tokens and the text between them -> words -> bytes, each written as one letter -> pairs merged -> ids

const WHITE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"; // JavaScript's \s differs
const WORD = new RegExp(`'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${WHITE}\\p{L}\\p{N}]+|[${WHITE}]+(?![^${WHITE}])|[${WHITE}]+`, "gu");
const SPACES_BEFORE = new RegExp(`[${WHITE}]+$`, "u"), SPACES_BEHIND = new RegExp(`^[${WHITE}]+`, "u");

// A byte as a letter that can be seen: a space is "Ġ". GPT-2's table.
const seen = (b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
let others = 256;
const LETTER = Array.from({ length: 256 }, (_, b) => String.fromCodePoint(seen(b) ? b : others++));
const BYTE = new Map(LETTER.map((letter, b) => [letter, b]));

export class Tokenizer {
  // spec: the contents of tokenizer.json
  constructor(spec) {
    const { vocab, merges } = spec.model, pair = (merge) => (typeof merge === "string" ? merge : merge.join(" "));
    this.vocab = new Map(Object.entries(vocab));
    this.rank = new Map(merges.map((merge, n) => [pair(merge), n])); // "h e" -> 0: merged first
    this.added = new Map(spec.added_tokens.map((token) => [token.content, token]));
    for (const { content, id } of this.added.values()) this.vocab.set(content, id);
    this.names = new Map([...this.vocab].map(([text, id]) => [id, text]));
    const escaped = [...this.added.keys()].map((text) => text.replace(/[^\w]/g, "\\$&"));
    this.cut = new RegExp(`(${escaped.join("|")})`);
    this.ofWord = new Map(); // most words of a text were seen before
  }

  encode(text) { // -> [id]
    const ids = [], pieces = text.split(this.cut); // text, added token, text, ...
    for (let i = 0; i < pieces.length; i += 2) {
      const before = this.added.get(pieces[i - 1]), behind = this.added.get(pieces[i + 1]);
      let piece = pieces[i];
      if (before?.rstrip) piece = piece.replace(SPACES_BEHIND, ""); // the token takes the spaces beside it
      if (behind?.lstrip) piece = piece.replace(SPACES_BEFORE, "");
      ids.push(...this.plain(piece));
      if (behind) ids.push(behind.id);
    }
    return ids;
  }

  plain(text) { // each numeral is a part of its own
    return text.split(/(\p{N})/u).flatMap((part) => (part.match(WORD) ?? []).flatMap((word) => this.merged(word)));
  }

  merged(word) { // -> the ids of one word
    if (!this.ofWord.has(word)) this.ofWord.set(word, this.merge(word));
    return this.ofWord.get(word);
  }

  merge(word) {
    let parts = [...new TextEncoder().encode(word)].map((b) => LETTER[b]);
    for (;;) {
      let best = Infinity;
      for (let i = 0; i + 1 < parts.length; i++) best = Math.min(best, this.rank.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity);
      if (best === Infinity) return parts.map((part) => this.vocab.get(part));
      parts = this.joined(parts, best);
    }
  }

  joined(parts, best) { // ["h", "e", "h", "e"] -> ["he", "he"]
    const joined = [];
    for (let i = 0; i < parts.length; i++) {
      const together = i + 1 < parts.length && this.rank.get(`${parts[i]} ${parts[i + 1]}`) === best;
      joined.push(together ? parts[i] + parts[++i] : parts[i]);
    }
    return joined;
  }

  decode(ids) { // -> text, without end token and padding; bytes that are no UTF-8 become U+FFFD
    const letters = ids.map((id) => this.names.get(id)).filter((name) => name !== undefined && !this.added.has(name)).join("");
    const bytes = Uint8Array.from([...letters].map((letter) => BYTE.get(letter)));
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  }
}
