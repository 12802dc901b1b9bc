/** What Prometheus has behind feature flags, and its defaults (reference section 10). docs/promql-support.md lists them. */

export interface Switch {
  /** The name that `--enable-feature` has for it in Prometheus. */
  readonly flag: string;
  readonly isOn: boolean;
  readonly covers: string;
}

export const SWITCHES = {
  experimentalFunctions: {
    flag: 'promql-experimental-functions',
    isOn: false,
    covers: 'the functions and aggregators that are marked below',
  },
  durationExpressions: {
    flag: 'promql-duration-expr',
    isOn: true,
    covers: 'arithmetic, `step()`, `range()`, `min_of()` and `max_of()` in durations',
  },
  extendedRangeSelectors: {
    flag: 'promql-extended-range-selectors',
    isOn: false,
    covers: 'the modifiers `anchored` and `smoothed`',
  },
  fillModifiers: {
    flag: 'promql-binop-fill-modifiers',
    isOn: false,
    covers: 'the modifiers `fill`, `fill_left` and `fill_right`',
  },
  delayedNameRemoval: {
    flag: 'promql-delayed-name-removal',
    isOn: false,
    covers: 'names are removed at the end of a query instead of by each operation',
  },
  startTimestamps: {
    flag: 'use-start-timestamps',
    isOn: false,
    covers: 'start timestamps in `rate`, `increase`, `irate` and `resets`',
  },
  typeAndUnitLabels: {
    flag: 'type-and-unit-labels',
    isOn: false,
    covers: 'the info about a metric that might not be a counter looks at its `__type__`',
  },
} as const satisfies Readonly<Record<string, Switch>>;
