/**
 * The flight recorder: the Readings that autoscalers were given, newest last, within a fixed number of bytes.
 *
 *     subjects   who asked what (a trigger, an external metric): kept once each; of those that were not used since they
 *                were last looked at, the oldest is given up first
 *     ring       one record a Reading, of fixed numbers and a short text; the oldest is written over
 *
 *     record     0 f64 time   8 f64 value   16 f64 newest sample (NaN: none)   24 f32 latency ms   28 u32 subject
 *                32 u32 series   36 u32 sources expected   40 u32 sources seen   44 u8 outcome   45 u8 text bytes   46 text
 *
 * The value of an absence is NaN; the text is its reason, or the note of a value. Subjects hold what was asked, under
 * which scope, and nothing else of a trigger's metadata, so no secret can be in here.
 */
import type { ErrorCode } from '../model/errors.ts';
import { LIMITS } from '../model/limits.ts';
import type { Matcher } from '../model/matcher.ts';
import type { Scope } from '../model/scope.ts';
import type { Origin, Reading } from './answer.ts';

/** Who asked what. */
export interface Subject {
  readonly surface: string;
  readonly namespace: string;
  readonly name: string;
  readonly query: string;
  readonly matchers: readonly Matcher[];
  readonly scope: Scope;
  /** As it could be written: `noData=last:5m reduce=max`. */
  readonly policy: string;
  readonly target: number | null;
  readonly activation: number | null;
}

/** One Reading as it was given. */
export interface Decision {
  /** Counts up by one a Reading. */
  readonly id: number;
  readonly subject: Subject;
  readonly timeMs: number;
  /** Null for an absence. */
  readonly value: number | null;
  /** `value`, `held`, `last`, `no_data`, or the code of the absence. */
  readonly outcome: string;
  /** The reason of an absence, or why the value is not simply the query's. Cut to 200 bytes. */
  readonly reason: string;
  readonly newestMs: number | null;
  readonly series: number;
  readonly sourcesExpected: number;
  readonly sourcesSeen: number;
  readonly latencyMs: number;
}

export interface DecisionFilter {
  readonly surface?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly outcome?: string;
  readonly fromMs?: number;
  readonly toMs?: number;
  /** Only Readings with a smaller id: the next page. */
  readonly before?: number;
  readonly limit: number;
}

/** A subject's outcome became another one. */
export interface StateChange {
  readonly subject: Subject;
  /** Null for the first Reading of a subject. */
  readonly from: string | null;
  readonly to: string;
  readonly reading: Reading;
}

export interface RecorderOptions {
  readonly ringBytes?: number;
  readonly subjectsBytesMax?: number;
  readonly onChange?: (change: StateChange) => void;
}

interface Entry {
  readonly id: number;
  readonly subject: Subject;
  readonly bytes: number;
  outcome: number;
  /** Since it came to the end of the line of those that may be given up. */
  isUsed: boolean;
}

const HEAD_BYTES = 46;
const TEXT_BYTES_MAX = 200;
/** What an entry costs besides its characters: objects, map slots. */
const ENTRY_BYTES = 400;
/** Outcomes by number, in the order in which they first came up. */
const outcomes: string[] = [];

export class Recorder {
  readonly #ring: Buffer;
  readonly #subjectsBytesMax: number;
  readonly #onChange: ((change: StateChange) => void) | null;
  /** By key, in the order in which they may be given up. */
  readonly #entries = new Map<string, Entry>();
  readonly #byId = new Map<number, Entry>();
  /** Offsets of the records in the ring, oldest first; a queue in a circle, since each record is at least HEAD_BYTES long. */
  readonly #offsets: Uint32Array;
  #firstId = 0;
  #nextId = 0;
  #end = 0;
  #nextSubjectId = 1;
  #subjectsBytes = 0;

  constructor({ ringBytes = LIMITS.decisionBytesMax, subjectsBytesMax, onChange }: RecorderOptions = {}) {
    this.#ring = Buffer.alloc(ringBytes);
    this.#subjectsBytesMax = subjectsBytesMax ?? LIMITS.decisionSubjectBytesMax;
    this.#onChange = onChange ?? null;
    this.#offsets = new Uint32Array(Math.ceil(ringBytes / HEAD_BYTES) + 1);
  }

  /** Decisions that are still kept. */
  get count(): number {
    return this.#nextId - this.#firstId;
  }

  get subjects(): number {
    return this.#entries.size;
  }

  /** Of the ring and of the list of subjects, about. */
  get bytes(): number {
    return this.#ring.length + this.#offsets.byteLength + this.#subjectsBytes;
  }

  record(subject: Subject, reading: Reading, latencyMs: number): void {
    const entry = this.#entry(subject);
    const isValue = reading.kind === 'value';
    const outcome = numberOf(isValue ? outcomeOfOrigin(reading.origin) : reading.code);
    this.#write(entry, reading, outcome, isValue ? reading.note : reading.reason, latencyMs);
    if (entry.outcome === outcome) return;
    const from = entry.outcome < 0 ? null : outcomes[entry.outcome]!;
    entry.outcome = outcome;
    this.#onChange?.({ subject, from, to: outcomes[outcome]!, reading });
  }

  /** Decisions, newest first. */
  decisions(filter: DecisionFilter): readonly Decision[] {
    const found: Decision[] = [];
    const wanted = new Map<number, boolean>();
    const end = Math.min(this.#nextId, filter.before ?? Infinity);
    for (let id = end - 1; id >= this.#firstId && found.length < filter.limit; id--) {
      const at = this.#offsets[id % this.#offsets.length]!;
      const subjectId = this.#ring.readUInt32LE(at + 28);
      let isWanted = wanted.get(subjectId);
      if (isWanted === undefined) {
        isWanted = this.#isWanted(subjectId, filter);
        wanted.set(subjectId, isWanted);
      }
      if (!isWanted) continue;
      const timeMs = this.#ring.readDoubleLE(at);
      if (timeMs < (filter.fromMs ?? -Infinity) || timeMs > (filter.toMs ?? Infinity)) continue;
      if (filter.outcome !== undefined && outcomes[this.#ring[at + 44]!] !== filter.outcome) continue;
      found.push(this.#read(id, at));
    }
    return found;
  }

  #isWanted(subjectId: number, { surface, namespace, name }: DecisionFilter): boolean {
    const subject = this.#byId.get(subjectId)?.subject;
    // Given up: what remains of it could not be told apart.
    if (subject === undefined) return false;
    return (
      (surface === undefined || subject.surface === surface) &&
      (namespace === undefined || subject.namespace === namespace) &&
      (name === undefined || subject.name === name)
    );
  }

  #read(id: number, at: number): Decision {
    const ring = this.#ring;
    const value = ring.readDoubleLE(at + 8);
    const newestMs = ring.readDoubleLE(at + 16);
    return {
      id,
      subject: this.#byId.get(ring.readUInt32LE(at + 28))!.subject,
      timeMs: ring.readDoubleLE(at),
      value: Number.isNaN(value) ? null : value,
      outcome: outcomes[ring[at + 44]!]!,
      reason: ring.toString('utf8', at + HEAD_BYTES, at + HEAD_BYTES + ring[at + 45]!),
      newestMs: Number.isNaN(newestMs) ? null : newestMs,
      series: ring.readUInt32LE(at + 32),
      sourcesExpected: ring.readUInt32LE(at + 36),
      sourcesSeen: ring.readUInt32LE(at + 40),
      latencyMs: Math.round(ring.readFloatLE(at + 24) * 1000) / 1000,
    };
  }

  #write(entry: Entry, reading: Reading, outcome: number, text: string, latencyMs: number): void {
    const bytes = textBytes(text);
    const at = this.#reserve(HEAD_BYTES + bytes.length);
    const ring = this.#ring;
    ring.writeDoubleLE(reading.timeMs, at);
    ring.writeDoubleLE(reading.kind === 'value' ? reading.value : Number.NaN, at + 8);
    ring.writeDoubleLE(reading.newestMs ?? Number.NaN, at + 16);
    ring.writeFloatLE(latencyMs, at + 24);
    ring.writeUInt32LE(entry.id, at + 28);
    ring.writeUInt32LE(reading.series, at + 32);
    ring.writeUInt32LE(reading.sourcesExpected, at + 36);
    ring.writeUInt32LE(reading.sourcesSeen, at + 40);
    ring[at + 44] = outcome;
    ring[at + 45] = bytes.length;
    ring.set(bytes, at + HEAD_BYTES);
  }

  /** Room for the newest record: gives up the oldest ones that lie there, and returns its offset. */
  #reserve(bytes: number): number {
    let at = this.#end;
    if (at + bytes > this.#ring.length) {
      this.#giveUp(at, this.#ring.length);
      at = 0;
    }
    this.#giveUp(at, at + bytes);
    this.#offsets[this.#nextId % this.#offsets.length] = at;
    this.#nextId++;
    this.#end = at + bytes;
    return at;
  }

  #giveUp(from: number, to: number): void {
    while (this.#firstId < this.#nextId) {
      const at = this.#offsets[this.#firstId % this.#offsets.length]!;
      // The oldest record lies behind the newest one, or the ring has not been filled yet.
      if (at < from || at >= to) return;
      this.#firstId++;
    }
  }

  #entry(subject: Subject): Entry {
    const key = keyOf(subject);
    let entry = this.#entries.get(key);
    if (entry !== undefined) {
      // To move it to the end each time would make a table of all entries anew every few thousand Readings.
      entry.isUsed = true;
      return entry;
    }
    const bytes = ENTRY_BYTES + 2 * key.length;
    entry = { id: this.#nextSubjectId++ >>> 0, subject, bytes, outcome: -1, isUsed: false };
    this.#entries.set(key, entry);
    this.#byId.set(entry.id, entry);
    this.#subjectsBytes += bytes;
    this.#evict(key);
    return entry;
  }

  #evict(newest: string): void {
    for (const [key, entry] of this.#entries) {
      if (this.#subjectsBytes <= this.#subjectsBytesMax) return;
      if (key === newest && !entry.isUsed) return;
      this.#entries.delete(key);
      if (entry.isUsed) {
        entry.isUsed = false;
        this.#entries.set(key, entry);
        continue;
      }
      this.#byId.delete(entry.id);
      this.#subjectsBytes -= entry.bytes;
    }
  }
}

/** Lengths in front tell where each part ends; with Latin characters only, a character of the key takes one byte. */
function keyOf({ surface, namespace, name, query, matchers, scope, policy, target, activation }: Subject): string {
  const added = matchers.length === 0 ? '' : JSON.stringify(matchers);
  const who = scope === null ? '*' : JSON.stringify(scope);
  const lengths = `${namespace.length} ${name.length} ${who.length} ${added.length} ${policy.length}`;
  return `${surface} ${lengths} ${namespace}${name}${who}${added}${policy}${target} ${activation} ${query}`;
}

function outcomeOfOrigin(origin: Origin): string {
  return origin === 'query' ? 'value' : origin;
}

function numberOf(outcome: string | ErrorCode): number {
  const known = outcomes.indexOf(outcome);
  return known >= 0 ? known : outcomes.push(outcome) - 1;
}

const NO_BYTES = Buffer.alloc(0);

/** Bytes of a text, cut at a whole character. */
function textBytes(text: string): Buffer {
  if (text === '') return NO_BYTES;
  const bytes = Buffer.from(text.length > TEXT_BYTES_MAX ? text.slice(0, TEXT_BYTES_MAX) : text);
  if (bytes.length <= TEXT_BYTES_MAX) return bytes;
  let end = TEXT_BYTES_MAX;
  while ((bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}
