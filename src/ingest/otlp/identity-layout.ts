/**
 * Where everything lies in the memory of the identities. Read by both sides, the AssemblyScript of `assembly/` and the
 * TypeScript above it; plain numbers only. The memory begins like the store's own (tsdb/kernel/layout.ts): its pages,
 * slabs and hash tables are used here, too.
 *
 *   superblock │ own fields │ page table │ ResourceMetrics │ odd metrics │ odd points │ rows │ new rows │ body │ heap: contexts, keys, attributes, points
 */
// The page behind the superblock.
export const OWN = 131072;
export const ID_BODY = OWN + 0;
export const ID_BODY_BYTES_MAX = OWN + 4;
export const ID_RESOURCES = OWN + 8;
export const ID_RESOURCE_COUNT = OWN + 12;
export const ID_METRICS = OWN + 16;
export const ID_METRIC_COUNT = OWN + 20;
export const ID_POINTS = OWN + 24;
export const ID_POINT_COUNT = OWN + 28;
export const ID_ROWS = OWN + 32;
export const ID_ROW_COUNT = OWN + 36;
/** Exemplars of known gauges, and rows that have ROW_EXEMPLARS. */
export const ID_GAUGE_EXEMPLARS = OWN + 40;
/** Points that are known. */
export const ID_KNOWN = OWN + 44;
// What the frame of a metric was found to be: FRAME_* below.
export const ID_FRAME = OWN + 64;
// What a point was found to say: POINT_* below.
export const ID_POINT = OWN + 128;
export const ID_EXEMPLAR_ROWS = OWN + 48;
/** Pages of the heap that stay free, so that no table is refused its growth half way. */
export const ID_RESERVE = OWN + 52;

/** Rows of new points, and their bytes by now. */
export const ID_NEW = OWN + 176;
export const ID_NEW_BYTES = OWN + 180;
/** Where TypeScript puts what it teaches. */
export const ID_TEACH = OWN + 184;
// New points in hand: of this metric, at [next, end) of the odd points; those from `first` to `left` are not taken.
export const ID_NEW_CONTEXT = OWN + 188;
export const ID_NEW_NEXT = OWN + 192;
export const ID_NEW_END = OWN + 196;
export const ID_NEW_LEFT = OWN + 200;
/** The key that `fillNew` does not know. */
export const ID_KEY = OWN + 204;
export const ID_KEY_END = OWN + 208;
/** Points that `learnNew` found to be stored, and their oldest and newest time. */
export const ID_NEW_STORED = OWN + 212;
export const ID_NEW_EARLIEST = OWN + 216; // f64
export const ID_NEW_LATEST = OWN + 224; // f64
/** Number of what the identity of the body's sender puts on its series; 0 for nothing. */
export const ID_STAMP = OWN + 232;
/** The store's count of pairs that it gave back: pairs that were noted at another count may be others by now. */
export const ID_EPOCH = OWN + 236;
/** Exemplars of new gauges that were stored; and of `learnNew`, new points of sums with exemplars, listed where the rows were. */
export const ID_NEW_GAUGE_EXEMPLARS = OWN + 240;
export const ID_NEW_EXEMPLARS = OWN + 244;
// Where a look-up stands: table, mask and slot.
export const ID_PROBE = OWN + 248;
export const ID_PROBE_MASK = OWN + 252;
export const ID_PROBE_SLOT = OWN + 256;
/** Known points of delta sums: where they are listed, and how many there are. */
export const ID_DELTAS = OWN + 260;
export const ID_DELTA_COUNT = OWN + 264;
/** 1 if the schema URL of a scope is a label: then it is of the identity, and is left to others. */
export const ID_URL_COUNTS = OWN + 56;

export const RESOURCES_MAX = 65_536;
export const METRICS_MAX = 131_072;
export const POINTS_MAX = 262_144;
export const ROWS_MAX = 262_144;
export const NEW_ROWS_BYTES = 524_288;
/** More than one new row takes: 40 labels of 256 and 4096 bytes. */
export const NEW_ROW_BYTES_MAX = 196_608;
/** Rows that are appended together: what they taught is of use to the next ones, and they are still in the cache. */
export const NEW_BATCH_BYTES = 65_536;
export const TEACH_BYTES = 8192;

// A ResourceMetrics of the body. All positions are offsets in the body.
export const RES_BYTES = 64;
/** Where its length stands, where its fields begin, and its end. */
export const RES_START = 0;
export const RES_FIELDS = 4;
export const RES_END = 8;
/** The Resource message. */
export const RES_RESOURCE = 12;
export const RES_RESOURCE_END = 16;
/** Context of the resource, 0 if it is not known. */
export const RES_CONTEXT = 20;
/** 1 if it is not of the plain form: then nothing else of it was looked at. */
export const RES_ODD = 24;
/** Its odd metrics, [first, end). */
export const RES_METRICS = 28;
export const RES_METRICS_END = 32;
/** Oldest and newest time of its known points. */
export const RES_EARLIEST = 40; // f64
export const RES_LATEST = 48; // f64

// A metric with points that are not known.
export const MET_BYTES = 48;
export const MET_START = 0;
export const MET_END = 4;
export const MET_SCOPE = 8;
export const MET_SCOPE_END = 12;
/** The ScopeMetrics around it. */
export const MET_AROUND = 16;
export const MET_AROUND_END = 20;
/** Context of the metric, 0 if it is not known: then none of its points is. */
export const MET_CONTEXT = 24;
/** Its new points, [first, end): where the length of each stands. Of a metric that is not known all, if it is plain. */
export const MET_POINTS = 28;
export const MET_POINTS_END = 32;
/** 1 for a gauge or cumulative sum whose new points are all written in the plain form: it is well formed. */
export const MET_PLAIN = 36;

// A sample of a known point.
export const ROW_BYTES = 56;
export const ROW_SERIES = 0;
export const ROW_GENERATION = 4;
export const ROW_TIME = 8; // f64
export const ROW_BITS = 16; // i64
export const ROW_START = 24; // f64
/** Written by whoever appends. */
export const ROW_OUTCOME = 32;
/** The identity that the row comes from. */
export const ROW_IDENTITY = 36;
/** The metric in the body, for messages. */
export const ROW_METRIC = 40;
export const ROW_METRIC_END = 44;
/** Where the length of the point stands if it has exemplars that may be kept, else 0. */
export const ROW_EXEMPLARS = 48;
/** The series was removed meanwhile; besides the outcomes of the store. */
export const OUTCOME_GONE = 8;

// A known point of a delta sum, in the order of the rows: its row, what IDY_DELTA says, and its times as they came.
export const DELTA_BYTES = 24;
export const DELTA_ROW = 0;
export const DELTA_SLOT = 4;
export const DELTA_START = 8; // u64
export const DELTA_TIME = 16; // u64

// Where the parts of a metric lie, as addresses: all bytes but those of the points are its identity.
export const FRAME_KIND = 0;
export const FRAME_DATA = 4; // tag of the gauge or sum
export const FRAME_FIRST = 8; // first point
export const FRAME_LAST = 12; // end of the last point
export const FRAME_DATA_START = 16;
export const FRAME_DATA_END = 20;
/** The start timestamps of its points say something. */
export const FRAME_STARTS = 24;
export const FRAME_TEMPORALITY = 28;
/** The frame is one of a delta sum. */
export const FRAME_DELTA = 32;

// What a point says.
export const POINT_ATTRIBUTES = 0;
export const POINT_ATTRIBUTES_END = 4;
export const POINT_FLAGS = 8;
export const POINT_EXEMPLARS = 12;
export const POINT_START = 16; // u64
export const POINT_TIME = 24; // u64
export const POINT_BITS = 32; // i64
export const POINT_HAS_VALUE = 40;
export const POINT_IDENTITY = 44;
export const POINT_DELTA = 48;

// A context: a resource, or a metric of a scope of a resource, known by bytes.
export const CTX_HASH = 0;
export const CTX_PARENT = 4;
/** 0 for a resource. */
export const CTX_KIND = 8;
/** The point that came first under it when it was seen last. */
export const CTX_FIRST = 12;
export const CTX_STARTS = 16;
/** Bytes of its five parts, then the parts. */
export const CTX_PARTS = 20;
/** The labels that all points of a metric have, as they were taught; 0 if they were not. */
export const CTX_LABELS = 40;
/** 1 for a delta sum. */
export const CTX_DELTA = 44;
export const CTX_BYTES = 48;
/** A context of more bytes than this is never known. */
export const CTX_BYTES_MAX = 8192;

// A label that all points of a metric have, behind each other in CTX_LABELS, in order of their names.
export const LBL_BYTES = 0; // u16, of the label on the wire of remote-write
export const LBL_NAME = 2; // u8, where its name begins on that wire
export const LBL_OVERWRITES = 3; // u8, 0 if an attribute of the point goes before it
export const LBL_NAME_BYTES = 4; // u16
/** What the label is in the store, and at which ID_EPOCH; 0 if that is not known. */
export const LBL_PAIR = 8;
export const LBL_EPOCH = 12;
export const LBL_WIRE = 16;

// A key of attributes, and the label name that it becomes.
export const KEY_HASH = 0;
export const KEY_LENGTH = 4;
/** 0 if points with this key are left to others. */
export const KEY_NAME_LENGTH = 8;
/** 1 if they are left to others where the sender has a stamp. */
export const KEY_MEETS_STAMP = 12;
/** The key, then the name. */
export const KEY_BYTES = 16;

// A sample of a new point: its attributes follow, then the labels of its series.
export const NEW_BYTES = 0;
export const NEW_LABELS = 4; // their number
export const NEW_TIME = 8; // f64
export const NEW_BITS = 16; // i64
export const NEW_START = 24; // f64
// Written by whoever appends.
export const NEW_SERIES = 32;
export const NEW_GENERATION = 36;
export const NEW_OUTCOME = 40;
/** Where the length of the point stands in the body. */
export const NEW_POSITION = 44;
/** Where its attributes begin, as an address; 0 if they do not stand together. */
export const NEW_ATTRIBUTES_START = 48;
export const NEW_ATTRIBUTES = 52; // their number
export const NEW_EXEMPLARS = 56; // their number
export const NEW_HEADER_BYTES = 64;
// An attribute of a new row, as they stand in the point: what is known of it, or 0; where it ends; its key.
export const ROW_ATTRIBUTE_BYTES = 12;
export const ROW_ATTRIBUTE = 0;
export const ROW_ATTRIBUTE_END = 4;
export const ROW_ATTRIBUTE_KEY = 8;
// A label of a new row, in order of names. Its pair in the store, or 0: then whoever appends writes it.
export const ROW_LABEL_BYTES = 12;
export const ROW_LABEL_PAIR = 0;
/** Bytes of the label on the wire of remote-write; with ROW_LABEL_WIRED they follow, because the pair is not known. */
export const ROW_LABEL_LENGTH = 4;
/** The number of the attribute that it comes from, or the address of the label in CTX_LABELS. */
export const ROW_LABEL_SOURCE = 8;
export const ROW_LABEL_WIRED = 0x80000000;
/** What `fillNew` says: all points were looked at; the rows are to be appended first; a key is to be taught first. */
export const FILL_DONE = 0;
export const FILL_FULL = 1;
export const FILL_KEY = 2;

// An attribute: its bytes on the wire, tag and length included.
export const ATT_HASH = 0;
export const ATT_LENGTH = 4;
/** Its key, or 0 if it never stood in a new row. */
export const ATT_KEY = 8;
/** The label that it becomes, as the store has it, at which ID_EPOCH, and its bytes on the wire of remote-write; 0 if that is not known. */
export const ATT_PAIR = 12;
export const ATT_EPOCH = 16;
export const ATT_LABEL_LENGTH = 20;
export const ATT_BYTES = 24;

// The identity of a point: a context and attributes; what series it is.
export const IDY_HASH = 0;
export const IDY_CONTEXT = 4;
/** 0 for one whose series is gone. */
export const IDY_SERIES = 8;
export const IDY_GENERATION = 12;
/** Predicted successor. */
export const IDY_NEXT = 16;
/** Bytes of its attributes, and their number; then the address of each. */
export const IDY_LENGTH = 20;
export const IDY_ATTRIBUTES = 24;
/** Of a delta sum: what TypeScript knows of it; 0 if that is nothing. */
export const IDY_DELTA = 28;
export const IDY_BYTES = 32;
export const ATTRIBUTES_MAX = 64;
