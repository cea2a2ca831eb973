// Texts such as "0:1, 10:0.5" or "style = 1": where their numbers stand, and the text with some of them changed.

// The pairs of a text with the places of both sides; null where it cannot be read. A line may end with a # comment.
export function pairs(text) {
  const found = [];
  let offset = 0;
  for (const line of text.split("\n")) {
    for (const piece of line.split("#", 1)[0].matchAll(/[^,;]+/g)) {
      if (!piece[0].trim()) continue;
      const pair = pairOf(piece[0], offset + piece.index);
      if (!pair) return null;
      found.push(pair);
    }
    offset += line.length + 1;
  }
  return found;
}

function pairOf(piece, offset) {
  const [, before, name, between, value] = piece.match(/^(\s*)([^:=]+?)(\s*[:=]\s*)(\S+)\s*$/) ?? [];
  if (!name || !Number.isFinite(Number(value))) return null;
  const from = offset + before.length;
  const start = from + name.length + between.length;
  return { name, number: Number(value), from, to: from + name.length, start, end: start + value.length };
}

const spliced = (text, start, end, put) => text.slice(0, start) + put + text.slice(end);

export const withNumber = (text, pair, number) => spliced(text, pair.start, pair.end, number);

export const withPair = (text, pair, name, number) => spliced(withNumber(text, pair, number), pair.from, pair.to, name);

export function withMore(text, piece) {
  if (!text.trim()) return piece;
  const isComment = text.slice(text.lastIndexOf("\n") + 1).includes("#");
  return text.trimEnd() + (isComment ? "\n" : ", ") + piece;
}

export function without(text, pair) {
  const before = text.slice(0, pair.from);
  const after = text.slice(pair.end);
  const shorter = before.replace(/[,;][^\S\n]*$/, "");
  return shorter === before ? before + after.replace(/^[^\S\n]*[,;][^\S\n]*/, "") : shorter + after;
}

export const rounded = (number, step) => Number((Math.round(number / step) * step).toFixed(4));
