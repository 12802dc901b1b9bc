/**
 * The kernel's loader: compiles the module, makes its one memory, and lays it out. Addresses come back from the kernel
 * as signed numbers; whoever keeps one writes `>>> 0`.
 */
import { strict as assert } from 'node:assert';
import { KERNEL_WASM_BASE64 } from './generated/kernel.ts';
import {
  PAGE_BYTES,
  SB_KEYS,
  SB_LABELS_MAX,
  SB_NAME_BYTES_MAX,
  SB_OUT_OF_ORDER_MS,
  SB_PERIOD_MS,
  SB_VALUE_BYTES_MAX,
} from './layout.ts';

export interface KernelOptions {
  /** Size of the memory; at most 4 GiB. All of it is reserved, and only what is used is resident. */
  readonly memoryBytes: number;
  readonly seriesMax: number;
  /** Largest body after decompression. */
  readonly bodyBytesMax: number;
  readonly periodMs: number;
  readonly outOfOrderMsMax: number;
  readonly labelsMax: number;
  readonly nameBytesMax: number;
  readonly valueBytesMax: number;
  /** Four 64-bit keys of the hash, as halves. Unknown to senders, or they can flood the tables. */
  readonly hashKeys: Uint32Array;
  /** The module as base64; the build with assertions in tests. */
  readonly wasm?: string;
}

/** What the kernel exports; see assembly/index.ts. */
export interface KernelExports {
  init(pages: number, seriesMax: number, bodyBytesMax: number): number;
  ingest(bytes: number, connection: number): number;
  ingestMore(): number;
  bodySeries(bytes: number, timestampMs: number): number;
  ingest2(bytes: number, connection: number): number;
  ingest2More(): number;
  append(id: number, timestampMs: number, low: number, high: number, startMs: number): number;
  appendHistogram(id: number, timestampMs: number, bytes: number, startMs: number): number;
  hasHistograms(id: number, serial: number): number;
  histogramsIn(id: number, fromMs: number, toMs: number, serial: number, out: number, max: number): number;
  startsAt(id: number, times: number, count: number, out: number): number;
  appendRows(count: number): void;
  appendNewRows(bytes: number): void;
  seriesOf(bytes: number, create: number): number;
  pairOf(bytes: number): number;
  nameOf(bytes: number): number;
  decode(record: number, fromMs: number, toMs: number, times: number, values: number, max: number): number;
  countSamples(record: number, fromMs: number, toMs: number): number;
  selectBegin(): void;
  bitmapFill(slot: number, bits: number): void;
  bitmapAnd(into: number, other: number): void;
  bitmapAndNot(into: number, other: number): void;
  bitmapOr(into: number, other: number): void;
  bitmapOrPairs(slot: number, pairs: number, count: number): void;
  bitmapOrName(slot: number, name: number): void;
  bitmapNarrow(slot: number): number;
  bitmapMeetsPair(slot: number, pair: number): number;
  bitmapMeetsName(slot: number, name: number): number;
  collect(slot: number, fromMs: number, toMs: number, out: number, keep: number): number;
  pairsOf(name: number, after: number, out: number, max: number): number;
  copyRecords(ids: number, count: number, out: number): void;
  labelColumn(ids: number, count: number, name: number, out: number): void;
  lastValues(
    sources: number,
    copies: number,
    count: number,
    atMs: number,
    lookbackMs: number,
    outValues: number,
    outValid: number,
  ): void;
  rates(
    kind: number,
    sources: number,
    copies: number,
    count: number,
    startMs: number,
    stepMs: number,
    steps: number,
    rangeMs: number,
    columns: number,
    capacity: number,
    outValues: number,
    outValid: number,
  ): number;
  addUp(
    values: number,
    valid: number,
    rows: number,
    steps: number,
    groups: number,
    sums: number,
    lost: number,
    seen: number,
  ): number;
  sumNewest(slot: number, fromMs: number, toMs: number, sums: number): number;
  rhythms(
    sources: number,
    copies: number,
    count: number,
    fromMs: number,
    startMs: number,
    endMs: number,
    lifeMs: number,
    gapIntervals: number,
    gapSlackMs: number,
    intervalMsUnknown: number,
    out: number,
  ): void;
  retentionSlice(budget: number): number;
  periodSummary(out: number): number;
  pagesFree(): number;
  snappyDecode(source: number, bytes: number, target: number, bytesMax: number, decoded: number): number;
  verify(): number;
  /** CRC-32C of bytes in the memory; `before` is that of what comes before them. */
  crc32c(address: number, bytes: number, before: number): number;
  /** The checksum of an image's blocks, likewise. */
  blockSum(address: number, bytes: number, before: number): number;
  /** Makes the memory whole after an image was put into it: 0, or why it cannot be. */
  rebuild(): number;
}

/** The memory, seen as what it holds. The views stay valid: the memory never grows. */
export interface Kernel extends KernelExports {
  readonly u8: Uint8Array<ArrayBuffer>;
  readonly u16: Uint16Array<ArrayBuffer>;
  readonly u32: Uint32Array<ArrayBuffer>;
  readonly f64: Float64Array<ArrayBuffer>;
  readonly buffer: Buffer<ArrayBuffer>;
  /** What \`init\` was told. */
  readonly layout: { readonly memoryPages: number; readonly seriesMax: number; readonly bodyBytesMax: number };
}

// Compiling takes some milliseconds; a process that opens several kernels (tests) does it once.
const modules = new Map<string, WebAssembly.Module>();

/** Opens a kernel over a fresh memory. */
export function openKernel(options: KernelOptions): Kernel {
  const pages = Math.floor(options.memoryBytes / PAGE_BYTES);
  assert(pages <= 65536, `kernel memory of ${pages} pages: want at most 65536`);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const imports = { env: { memory, abort: aborter(memory) } };
  const instance = new WebAssembly.Instance(moduleOf(options.wasm ?? KERNEL_WASM_BASE64), imports);
  const { seriesMax, bodyBytesMax } = options;
  const layout = { memoryPages: pages, seriesMax, bodyBytesMax };
  const kernel = { ...(instance.exports as unknown as KernelExports), ...viewsOf(memory.buffer), layout };
  if (kernel.init(pages, options.seriesMax, options.bodyBytesMax) === 0) {
    throw new RangeError(`cannot lay out ${options.seriesMax} series: got ${pages} pages of memory, want more`);
  }
  configure(kernel, options);
  return kernel;
}

function configure(kernel: Kernel, options: KernelOptions): void {
  assert(options.hashKeys.length === 8, 'hashKeys: want eight halves');
  kernel.u32.set(options.hashKeys, SB_KEYS >>> 2);
  kernel.u32[SB_LABELS_MAX >>> 2] = options.labelsMax;
  kernel.u32[SB_NAME_BYTES_MAX >>> 2] = options.nameBytesMax;
  kernel.u32[SB_VALUE_BYTES_MAX >>> 2] = options.valueBytesMax;
  kernel.f64[SB_OUT_OF_ORDER_MS >>> 3] = options.outOfOrderMsMax;
  kernel.f64[SB_PERIOD_MS >>> 3] = options.periodMs;
}

function moduleOf(base64: string): WebAssembly.Module {
  const known = modules.get(base64);
  if (known !== undefined) return known;
  const compiled = new WebAssembly.Module(Buffer.from(base64, 'base64'));
  modules.set(base64, compiled);
  return compiled;
}

function viewsOf(bytes: ArrayBuffer): Pick<Kernel, 'u8' | 'u16' | 'u32' | 'f64' | 'buffer'> {
  return {
    u8: new Uint8Array(bytes),
    u16: new Uint16Array(bytes),
    u32: new Uint32Array(bytes),
    f64: new Float64Array(bytes),
    buffer: Buffer.from(bytes),
  };
}

/** What a failed assertion of the debug build calls. */
function aborter(memory: WebAssembly.Memory) {
  const text = (address: number): string => {
    const bytes = new DataView(memory.buffer);
    const length = address === 0 ? 0 : bytes.getUint32((address >>> 0) - 4, true);
    return Buffer.from(memory.buffer, address >>> 0, length).toString('utf16le');
  };
  return (message: number, file: number, line: number, column: number): never => {
    throw new Error(`kernel assertion failed: ${text(message)} (${text(file)}:${line}:${column})`);
  };
}
