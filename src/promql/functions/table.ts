/** The one table of PromQL's functions: name, signature, family. Family files hold what they compute. */
import type { ValueType } from '../syntax/ast.ts';

const S: ValueType = 'scalar';
const V: ValueType = 'instant vector';
const R: ValueType = 'range vector';
const T: ValueType = 'string';

export type Family =
  | 'rate'
  | 'over-time'
  | 'trend'
  | 'math'
  | 'labels'
  | 'scalars'
  | 'dates'
  | 'histograms'
  | 'presence'
  | 'sort'
  | 'info';

export interface FunctionInfo {
  readonly name: string;
  readonly family: Family;
  readonly args: readonly ValueType[];
  /** Arguments that may be left out at the end; -1: the last one may come any number of times, or not at all. */
  readonly variadic: number;
  readonly returns: ValueType;
  readonly experimental: boolean;
}

const table = new Map<string, FunctionInfo>();

function add(family: Family, names: string, args: readonly ValueType[], more: Partial<FunctionInfo> = {}): void {
  for (const name of names.split(' ')) {
    table.set(name, { name, family, args, variadic: 0, returns: V, experimental: false, ...more });
  }
}

const experimental = true;

add('rate', 'rate increase irate delta idelta resets changes', [R]);
add('trend', 'deriv', [R]);
add('trend', 'predict_linear', [R, S]);
add('trend', 'double_exponential_smoothing', [R, S, S], { experimental });

add(
  'over-time',
  'avg_over_time min_over_time max_over_time sum_over_time count_over_time last_over_time first_over_time',
  [R],
);
add('over-time', 'present_over_time stddev_over_time stdvar_over_time', [R]);
add('over-time', 'quantile_over_time', [S, R]);
add('over-time', 'mad_over_time ts_of_min_over_time ts_of_max_over_time', [R], { experimental });
add('over-time', 'ts_of_first_over_time ts_of_last_over_time', [R], { experimental });
add('presence', 'absent_over_time', [R]);
add('presence', 'absent', [V]);

add(
  'math',
  'abs ceil floor exp ln log2 log10 sqrt sgn sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh deg rad',
  [V],
);
add('math', 'round', [V, S], { variadic: 1 });
add('math', 'clamp', [V, S, S]);
add('math', 'clamp_min clamp_max', [V, S]);

add('labels', 'label_replace', [V, T, T, T, T]);
add('labels', 'label_join', [V, T, T, T], { variadic: -1 });
add('sort', 'sort sort_desc', [V]);
add('sort', 'sort_by_label sort_by_label_desc', [V, T], { variadic: -1, experimental });
add('info', 'info', [V, V], { variadic: 1, experimental });

add('scalars', 'scalar', [V], { returns: S });
add('scalars', 'vector', [S]);
add('scalars', 'time pi', [], { returns: S });
add('scalars', 'start end step range', [], { returns: S, experimental });
add('scalars', 'min_of max_of', [S, S], { returns: S, experimental });
add('scalars', 'timestamp', [V]);
add('scalars', 'start_timestamp', [V], { experimental });
add('dates', 'minute hour day_of_week day_of_month day_of_year days_in_month month year', [V], { variadic: 1 });

add('histograms', 'histogram_quantile', [S, V]);
add('histograms', 'histogram_fraction', [S, S, V]);
add('histograms', 'histogram_count histogram_sum histogram_avg histogram_stddev histogram_stdvar', [V]);
add('histograms', 'histogram_quantiles', [V, T, S, S], { variadic: 9, experimental });

export const FUNCTIONS: ReadonlyMap<string, FunctionInfo> = table;

/** Functions whose answer depends on the time of evaluation even where their arguments do not. */
export const TIME_DEPENDENT: ReadonlySet<string> = new Set([
  ...['minute', 'hour', 'day_of_week', 'day_of_month', 'day_of_year', 'days_in_month', 'month', 'year'],
  ...['time', 'predict_linear', 'timestamp', 'start', 'end', 'step', 'range'],
]);
