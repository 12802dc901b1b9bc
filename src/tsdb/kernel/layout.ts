/**
 * Where everything lies in the kernel's memory. Read by both sides: the AssemblyScript of `assembly/` and the
 * TypeScript above it (so: plain numbers only, no types). README.md draws it; a test compares the two.
 *
 * What depends on the size of the memory (page table, records, heap) is laid out by `init` and its addresses stand in
 * the superblock; what is fixed stands here.
 */
export const LAYOUT_VERSION = 1;
export const MAGIC = 0x314b4754; // "TGK1"
export const PAGE_BYTES = 65536;

// The superblock: the second page of the memory (the first is the compiler's). All of it survives in an image.
export const SUPERBLOCK = 65536;
export const SB_MAGIC = SUPERBLOCK + 0;
export const SB_VERSION = SUPERBLOCK + 4;
export const SB_MEMORY_PAGES = SUPERBLOCK + 8;
/** Highest series id that has a record. Ids begin at 1. */
export const SB_ID_MAX = SUPERBLOCK + 12;
export const SB_SERIES_MAX = SUPERBLOCK + 16;
export const SB_BODY_BYTES_MAX = SUPERBLOCK + 20;
export const SB_IN_BYTES_MAX = SUPERBLOCK + 24;
/** Four 64-bit keys of the hash. */
export const SB_KEYS = SUPERBLOCK + 32;
export const SB_PAGE_TABLE = SUPERBLOCK + 64;
export const SB_NAMES = SUPERBLOCK + 68;
export const SB_NAMES_MAX = SUPERBLOCK + 72;
export const SB_LABEL_INPUT = SUPERBLOCK + 76;
export const SB_TAIL = SUPERBLOCK + 80;
export const SB_IN = SUPERBLOCK + 84;
export const SB_BODY = SUPERBLOCK + 88;
/** Query scratch; lies over the two body buffers: no query runs while a body is being walked. */
export const SB_BITMAPS = SUPERBLOCK + 92;
/** Bitmaps of the query scratch. */
export const BITMAPS = 6;
export const SB_BITMAP_BYTES = SUPERBLOCK + 96;
export const SB_IDS = SUPERBLOCK + 100;
export const SB_COLUMNS = SUPERBLOCK + 104;
export const SB_COLUMN_BYTES = SUPERBLOCK + 108;
export const SB_RECORDS = SUPERBLOCK + 112;
export const SB_HEAP_FIRST = SUPERBLOCK + 116;
/** One past the last heap page: the memory's last page is never used, so that a wide read past a cell stays inside. */
export const SB_HEAP_END = SUPERBLOCK + 120;
export const SB_FRONTIER = SUPERBLOCK + 124;
export const SB_FREE_PAGE = SUPERBLOCK + 128;
export const SB_FREE_PAGES = SUPERBLOCK + 132;
/** A new series is refused while fewer pages than this are free. */
export const SB_RESERVE_SERIES = SUPERBLOCK + 136;
/** Chunk cells leave at least this many pages free, for postings and tables. */
export const SB_RESERVE_CHUNKS = SUPERBLOCK + 140;
export const SB_ID_NEXT = SUPERBLOCK + 144;
export const SB_FREE_ID = SUPERBLOCK + 148;
export const SB_SERIES = SUPERBLOCK + 152;
export const SB_DEAD_ID = SUPERBLOCK + 156;
export const SB_DEAD = SUPERBLOCK + 160;
export const SB_SERIES_CREATED = SUPERBLOCK + 168; // f64
export const SB_SERIES_REMOVED = SUPERBLOCK + 176; // f64
export const SB_SAMPLES_APPENDED = SUPERBLOCK + 184; // f64
export const SB_PAIRS = SUPERBLOCK + 192;
/** Counts pairs that went away: whoever caches by pair address looks here. */
export const SB_PAIRS_FREED = SUPERBLOCK + 196;
export const SB_NAME_COUNT = SUPERBLOCK + 200;
export const SB_NAME_NEXT = SUPERBLOCK + 204;
export const SB_FREE_NAME = SUPERBLOCK + 208;
export const SB_DIRTY_PAIR = SUPERBLOCK + 212;
export const SB_LABELS_MAX = SUPERBLOCK + 216;
export const SB_NAME_BYTES_MAX = SUPERBLOCK + 220;
export const SB_VALUE_BYTES_MAX = SUPERBLOCK + 224;
export const SB_PINS = SUPERBLOCK + 228;
/** Hash tables, TABLE_BYTES each. */
export const SB_IDENTITY_TABLE = SUPERBLOCK + 256;
export const SB_PAIR_TABLE = SUPERBLOCK + 288;
export const SB_NAME_TABLE = SUPERBLOCK + 320;
export const TABLE_BYTES = 32;
// Time, all f64 milliseconds. Samples with OLDEST < t <= LATEST are taken.
export const SB_LATEST_MS = SUPERBLOCK + 352;
export const SB_OLDEST_MS = SUPERBLOCK + 360;
export const SB_OUT_OF_ORDER_MS = SUPERBLOCK + 368;
export const SB_PERIOD_MS = SUPERBLOCK + 376;
/** The period last asked for: [start, end) and its number. */
export const SB_PERIOD_START_MS = SUPERBLOCK + 384;
export const SB_PERIOD_END_MS = SUPERBLOCK + 392;
export const SB_PERIOD = SUPERBLOCK + 400;
/** Samples up to here were dropped with their periods; never goes back. */
export const SB_FLOOR_MS = SUPERBLOCK + 408; // f64
export const SB_NEWEST_MS = SUPERBLOCK + 416; // f64
export const SB_PERIODS_EVICTED = SUPERBLOCK + 424;
export const SB_RETENTION_PHASE = SUPERBLOCK + 428;
export const SB_RETENTION_CURSOR = SUPERBLOCK + 432;
/** Touched subscribed series: how many were written to the ring in all. */
export const SB_TOUCHED = SUPERBLOCK + 436;
export const SB_POSTING_BYTES = SUPERBLOCK + 440;
export const SB_WINDOW_LO = SUPERBLOCK + 444;
export const SB_WINDOW_HI = SUPERBLOCK + 448;
export const SB_RUN_NEXT = SUPERBLOCK + 452;
export const SB_VERIFY_AT = SUPERBLOCK + 456;
/** One bit an id: dead series whose ids still stand in postings. */
export const SB_DEAD_BITMAP = SUPERBLOCK + 460;
/** Series found by the first walk of a body. */
export const SB_ITEMS = SUPERBLOCK + 464;
export const SB_ITEM_COUNT = SUPERBLOCK + 468;
/** Field numbers of open groups. */
export const SB_GROUPS = SUPERBLOCK + 768;
/** Unknown series in a row in the first walk of a body. */
export const SB_UNKNOWN = SUPERBLOCK + 480;
export const SB_VARINT = SUPERBLOCK + 472;
/** Reading position that was interrupted because the columns were full; a record in all but name. */
export const SB_CURSOR = SUPERBLOCK + 512;
/** Where a copied record is put to be read from. */
export const SB_SOURCE = SUPERBLOCK + 576;
/** Powers of ten as f64, 10^0 .. 10^15. */
export const SB_POWERS = SUPERBLOCK + 640;

/** Slabs: head of the list of pages with room, by kind and size class. */
export const SB_SLABS = SUPERBLOCK + 1024;
export const SLAB_CLASSES = 64;
/** Period slots, by period number modulo PERIOD_SLOTS. */
export const SB_PERIODS = SUPERBLOCK + 4096;
export const PERIOD_SLOTS = 256;
export const PERIOD_SLOT_BYTES = 48;
export const SB_CONNECTIONS = SUPERBLOCK + 16384;
export const CONNECTIONS = 1024;
export const SB_RING = SUPERBLOCK + 20480;
export const RING = 4096;
/** Labels of the series being looked up, LABEL_BYTES each. */
export const SB_LABELS = SUPERBLOCK + 36864;
export const LABELS_HARD_MAX = 64;
export const LABEL_BYTES = 32;
/** What a call has to say, RESULT_* below. */
export const SB_RESULT = SUPERBLOCK + 40960;
export const SB_REFUSED = SUPERBLOCK + 41472;
export const REFUSED_MAX = 16;
export const REFUSED_BYTES = 24;
/**
 * The stamp of the body in hand: the label that its sender's identity puts on each of its series, as it comes over the wire.
 * 0 bytes: none. Its hash, and its pair and blob while some series has it.
 */
export const SB_STAMP_BYTES = SUPERBLOCK + 41984;
export const SB_STAMP_HASH = SUPERBLOCK + 41988;
export const SB_STAMP_PAIR = SUPERBLOCK + 41992;
export const SB_STAMP_BLOB = SUPERBLOCK + 41996;
export const SB_STAMP_LABEL = SUPERBLOCK + 42112;
export const STAMP_BYTES_MAX = 128;
export const SB_ODD = SUPERBLOCK + 45056;
export const ODD_MAX = 2048;
export const ODD_BYTES = 8;
/** Extras by series id, and how many cells of extras were ever written: a snapshot passes over those behind its own. */
export const SB_EXTRA_TABLE = SUPERBLOCK + 61440;
export const SB_SERIAL = SUPERBLOCK + 61472; // f64
/** Which samples of a body were refused: a bit each, in the order in which they are judged, and how many bytes are in use. */
export const SB_VERDICT = SUPERBLOCK + 62464;
export const SB_VERDICT_BYTES = SUPERBLOCK + 62468;
/** 1: the verdict is given, and samples that it refuses are passed over. */
export const SB_VERDICT_GIVEN = SUPERBLOCK + 62472;
/** 1 while an image is being written: then no cell that it may have read changes. */
export const SB_IMAGE = SUPERBLOCK + 62476;
/** Tables of the checksum, made by \`init\`. */
export const SB_CRC_TABLES = SUPERBLOCK + 62480;

// Result area of an ingest call: u32 counters, index = outcome of a sample (OUTCOME_*), then what follows.
export const RESULT_OUTCOMES = 0;
export const RESULT_CREATED = 64;
export const RESULT_ODD = 68;
export const RESULT_REFUSED = 72;
/** Where the walk goes on after the odd list was full; offset in the body. */
export const RESULT_RESUME = 76;
export const RESULT_BODY_BYTES = 80;
export const RESULT_TIME_SERIES = 84;
export const RESULT_SAMPLES_MAX = 88; // f64
/** What a window kernel read: samples that are no stale markers, and the time of the newest. */
/** What `rates` needs of the columns for each step of a grid, and for each sample of a series. */
export const RATE_STEP_BYTES = 104;
export const RATE_SAMPLE_BYTES = 24;
export const RESULT_READ_SAMPLES = 264; // f64
export const RESULT_READ_NEWEST = 272; // f64
/** The series before, whose successor is predicted, and the item that comes next. */
export const RESULT_PREVIOUS = 96;
export const RESULT_ITEM = 100;
export const RESULT_EXEMPLARS = 104;
export const RESULT_METADATA = 108;
export const RESULT_CONNECTION = 112;
/** EXTRA_* bits: what some of the series that were collected have. */
export const RESULT_EXTRAS = 116;

// Outcomes of a sample; the first six are those of the head's door.
export const OUTCOME_STORED = 0;
export const OUTCOME_DUPLICATE = 1;
export const OUTCOME_OUT_OF_ORDER = 2;
export const OUTCOME_CONFLICTING = 3;
export const OUTCOME_TOO_OLD = 4;
export const OUTCOME_TOO_FAR_AHEAD = 5;
/** The series would be new, and the limit of series or memory is reached. */
export const OUTCOME_SERIES_LIMIT = 6;
/** No page is left even for a known series. */
export const OUTCOME_NO_MEMORY = 7;
/** Passed over, because the verdict that was given refuses it. */
export const OUTCOME_PASSED_OVER = 15;
/** Counters of outcomes in the result area. */
export const OUTCOMES = 16;

// Status of an ingest call.
export const STATUS_DONE = 0;
/** The odd list is full: read it, then go on. */
export const STATUS_ODD_FULL = 1;
export const STATUS_SNAPPY_LENGTH = 2;
export const STATUS_SNAPPY_TOO_LARGE = 3;
export const STATUS_SNAPPY_CORRUPT = 4;
export const STATUS_PROTOBUF = 5;

// Looking up a series by its labels: a series id, or one of these.
export const SERIES_LIMIT = 0xffffffff;
export const SERIES_ODD = 0xfffffffe;
export const SERIES_MALFORMED = 0xfffffffd;

// A series record: one cache line. An id is its index.
export const RECORD_BYTES = 64;
/** Predicted successor (id), or the next free or dead id. */
export const REC_NEXT = 0;
/** Label set; 0 for a record without a series. */
export const REC_SET = 4;
export const REC_HASH = 8;
export const REC_CELL = 12;
export const REC_TIME = 16; // f64
export const REC_BITS = 24; // i64
export const REC_DELTA = 32; // i32
export const REC_POS = 36; // u16
export const REC_CELL_PERIOD = 38; // u16
export const REC_CAP = 40; // u8
export const REC_RUN = 41; // u8
export const REC_MODE = 42; // u8
export const REC_FLAGS = 43; // u8
/** Samples written since the series' history began (expired ones included). */
export const REC_SAMPLES = 44;
export const REC_LABEL_BYTES = 48;
export const REC_LABELS = 52; // u8
/** Smallest interval seen, in milliseconds, at most 65535: bounds the samples of a time range. */
export const REC_DELTA_MIN = 54; // u16
/** Period of the entries being written, of an open run too. */
export const REC_PERIOD = 56; // u16
/** Counts the lives of this id. */
export const REC_GENERATION = 60;
export const FLAG_SUBSCRIBED = 1;
export const FLAG_DEAD = 2;
/** The series has histograms or start timestamps; they hang on its entry in SB_EXTRA_TABLE. */
export const FLAG_EXTRAS = 4;

// A label set: addresses of the blobs of its labels, in order.
export const SET_ENTRY_BYTES = 4;

// A blob: one label as it comes over the wire, tag and lengths included.
export const BLOB_WIRE_BYTES = 0; // u16
export const BLOB_NAME = 2; // u16
export const BLOB_PAIR = 4;
export const BLOB_HEADER_BYTES = 8;

// A pair: a label value's entry in the inverted index. The name's own pair (all series that carry it) has no blob.
export const PAIR_BYTES = 64;
export const PAIR_BLOB = 0;
export const PAIR_HASH = 4;
/** The open run of ids [start, end). */
export const PAIR_RUN_START = 8;
export const PAIR_RUN_END = 12;
export const PAIR_LAST_END = 16;
export const PAIR_HEAD = 20;
export const PAIR_TAIL = 24;
export const PAIR_TAIL_POS = 28; // u16
export const PAIR_TAIL_CAP = 30; // u16
export const PAIR_COUNT = 32;
/** Group of the running query, valid if PAIR_EPOCH is the query's. */
export const PAIR_EPOCH = 36;
export const PAIR_GROUP = 40;
export const PAIR_NEXT = 44;
export const PAIR_PREVIOUS = 48;
export const PAIR_DIRTY_NEXT = 52;
export const PAIR_DIRTY = 56;
export const PAIR_NAME = 60;

// A postings block.
export const BLOCK_NEXT = 0;
export const BLOCK_USED = 4; // u16
export const BLOCK_SIZE = 6; // u16
export const BLOCK_HEADER_BYTES = 8;
export const BLOCK_BYTES_MIN = 32;
export const BLOCK_BYTES_MAX = 1024;

// A label name.
export const NAME_BYTES = 32;
export const NAME_TEXT = 0;
export const NAME_LENGTH = 4;
export const NAME_HASH = 8;
/** First pair of the name, or the next free name. */
export const NAME_FIRST = 12;
export const NAME_PAIRS = 16;
/** Goes up with each pair that comes or goes. */
export const NAME_EPOCH = 20;
/** The pair that lists all series with this name. */
export const NAME_ALL = 24;

// An entry of the page table.
export const PAGE_ENTRY_BYTES = 32;
export const PAGE_KIND = 0; // u8
export const PAGE_CLASS = 1; // u8
export const PAGE_PERIOD = 2; // u16
export const PAGE_LIVE = 4; // u16
export const PAGE_CELL = 6; // u16, bytes of a cell
/** First free cell, as offset / 8 + 1. */
export const PAGE_FREE = 8; // u16
/** First cell never used, as offset / 8. */
export const PAGE_BUMP = 10; // u16
export const PAGE_NEXT = 12;
export const PAGE_PREVIOUS = 16;
export const PAGE_LISTED = 20; // u8

export const KIND_FREE = 0;
export const KIND_SET = 1;
export const KIND_BLOB = 2;
export const KIND_PAIR = 3;
export const KIND_POSTING = 4;
export const KIND_CHUNK = 5;
export const KIND_TABLE = 6;
export const KIND_EXTRA = 7;
export const KIND_LOG = 8;
export const KINDS = 9;

// A hash table of { u32 hash, u32 ref }; two of them while it grows.
export const TABLE_ADDRESS = 0;
export const TABLE_MASK = 4;
export const TABLE_COUNT = 8;
export const TABLE_OLD = 12;
export const TABLE_OLD_MASK = 16;
export const TABLE_CURSOR = 20;
export const TABLE_ENTRY_BYTES = 8;

// A period of retention: whole chunk pages come and go with it.
export const PERIOD_LIVE = 0;
export const PERIOD_NUMBER = 4; // i32
export const PERIOD_SMALL = 8;
export const PERIOD_LARGE = 12;
export const PERIOD_PAGES = 16;
/** The page that cells of extras are taken from. */
export const PERIOD_LOG = 20;
export const PERIOD_MIN_MS = 24; // f64
export const PERIOD_SAMPLES = 32; // f64

// A chunk cell: 8 bytes of header, then the log.
export const CELL_PREVIOUS = 0;
export const CELL_PREVIOUS_POS = 4; // u8
export const CELL_PREVIOUS_PERIOD = 6; // u16
export const CELL_HEADER_BYTES = 8;
export const CELL_SMALL_BYTES = 32;
export const CELL_LARGE_BYTES = 64;

// Extras of a series: where its histograms and its start timestamps begin, newest first.
export const EXTRA_BYTES = 32;
export const EXTRA_ID = 0;
export const EXTRA_HISTOGRAMS = 4;
export const EXTRA_STARTS = 8;
/** Periods of the two cells. */
export const EXTRA_HISTOGRAMS_PERIOD = 12; // u16
export const EXTRA_STARTS_PERIOD = 14; // u16
/** Time of the newest histogram. */
export const EXTRA_NEWEST = 16; // f64
/** Bits of RESULT_EXTRAS. */
export const EXTRA_HAS_HISTOGRAMS = 1;
export const EXTRA_HAS_STARTS = 2;

// A cell of extras: one histogram, or one start timestamp that holds from its time on.
export const LOG_PREVIOUS = 0;
export const LOG_PREVIOUS_PERIOD = 4; // u16
/** 1: the start is a distance from the sample, not a time. */
export const LOG_RELATIVE = 6; // u16
export const LOG_TIME = 8; // f64
export const LOG_SERIAL = 16; // f64
export const LOG_START = 24; // f64
export const LOG_START_BYTES = 32;
export const LOG_BLOB_BYTES = 24; // u32
export const LOG_BLOB = 28;
/** A histogram is one cell, and a cell lies in one page. */
export const HISTOGRAM_BYTES_MAX = 65504;

// The rhythm of a series, f64 each; ../rhythm.ts has the same as places.
export const RHYTHM_BYTES = 48;
export const RHYTHM_STATE = 0;
export const RHYTHM_NEWEST = 8;
export const RHYTHM_FIRST = 16;
export const RHYTHM_INTERVAL = 24;
export const RHYTHM_HOLES = 32;
export const RHYTHM_GAP_START = 40;

/** Samples that may be moved to let one in out of order. */
export const TAIL_SAMPLES_MAX = 16384;
/** Room for the labels of one series, as handed in by `series`. */
export const LABEL_INPUT_BYTES = 262144;

/** Series of one body that the first walk resolves; the rest is resolved as it is stored. */
export const ITEMS_MAX = 65536;
/** { u32 id | kind << 28, u32 address behind the labels } */
export const ITEM_BYTES = 8;
export const ITEM_UNRESOLVED = 0;
/** Known series, then exactly one sample as everybody writes it. */
export const ITEM_PLAIN = 1;
/** Known series, then anything else that is well formed. */
export const ITEM_GENERAL = 2;
/** Groups of unknown fields may be nested so deep. */
export const GROUP_DEPTH_MAX = 64;

// Remote-write 2.0. Once a body is decompressed, SB_IN holds its symbol table: an entry a symbol.
export const SYMBOL_BYTES = 32;
/** The symbol's bytes in the body, and their number. */
export const SYMBOL_TEXT = 0;
export const SYMBOL_LENGTH = 4;
/** As a label's value: the symbol of the name that it was last seen with, and the blob of the two behind it. */
export const SYMBOL_NAME = 8;
export const SYMBOL_BLOB = 12;
/** As a metric's name: its Metadata message (at its length), the next symbol with one, + 1, and a hash of what it says. */
export const SYMBOL_METADATA = 16;
export const SYMBOL_NEXT = 20;
export const SYMBOL_HASH = 24; // u64
/** Number of symbols, and the first one with metadata, + 1. */
export const RESULT_SYMBOLS = 160;
export const RESULT_METADATA_FIRST = 164;
/** An odd series of a 2.0 body: offset, length, and its id if it is known. */
export const ODD_SERIES_BYTES = 12;
export const ODD_SERIES_MAX = 1024;
/** More symbols than there are places for. */
export const STATUS_SYMBOLS = 6;
