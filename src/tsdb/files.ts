/**
 * The disk, as the log and the image see it: little enough that a test can be the disk, and lose what was not synced.
 * `src/disk.ts` is the real one.
 */
export interface Files {
  /** Makes a folder with all above it. */
  makeFolder(path: string): Promise<void>;
  /** Names in a folder, in no order. */
  list(path: string): Promise<readonly string[]>;
  /** Makes a file that must not be there yet. */
  create(path: string): Promise<OpenFile>;
  open(path: string): Promise<ReadableFile>;
  /** Puts a file in the place of another, at once. */
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Makes sure that names that came and went in a folder survive a power loss. */
  syncFolder(path: string): Promise<void>;
}

export interface OpenFile {
  /** Writes all of it at the end of the file. */
  write(parts: readonly Uint8Array[]): Promise<void>;
  /** Makes sure that what was written survives a power loss. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface ReadableFile {
  readonly bytes: number;
  /** Reads at most `into.length` bytes; fewer only at the end of the file. */
  read(into: Uint8Array, position: number): Promise<number>;
  close(): Promise<void>;
}
