/** Metrics of the process itself, under the names that dashboards for Prometheus and Node.js know. */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { Registry } from './registry.ts';

export interface ProcessMetricsOptions {
  readonly registry: Registry;
  readonly version: string;
  /** Wall time in milliseconds at which the process started. */
  readonly startTimeMs: number;
}

/** Begins to watch the event loop (by a timer inside libuv that keeps no process alive) and registers everything. */
export function registerProcessMetrics({ registry, version, startTimeMs }: ProcessMetricsOptions): void {
  const build = registry.gauge('tidegauge_build_info', 'Always 1; the labels say what runs.', 'version', 'nodeversion');
  build.with(version, process.version).value = 1;
  registerProcess(registry, startTimeMs);
  registerMemory(registry);
  const delay = monitorEventLoopDelay({ resolution: 10 });
  delay.enable();
  registerEventLoopLag(registry, delay);
}

function registerProcess(registry: Registry, startTimeMs: number): void {
  const cpuSeconds = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  };
  registry.computed('counter', 'process_cpu_seconds_total', 'User and system CPU time spent, in seconds.', cpuSeconds);
  registry.computed(
    'gauge',
    'process_start_time_seconds',
    'Start of the process, in seconds since the Unix epoch.',
    () => Math.round(startTimeMs) / 1000,
  );
}

function registerMemory(registry: Registry): void {
  const gauge = (name: string, help: string, read: () => number) => registry.computed('gauge', name, help, read);
  gauge('process_resident_memory_bytes', 'Resident memory, in bytes.', () => process.memoryUsage.rss());
  gauge('nodejs_heap_size_total_bytes', "Size of V8's heap, in bytes.", () => process.memoryUsage().heapTotal);
  gauge('nodejs_heap_size_used_bytes', "Used part of V8's heap, in bytes.", () => process.memoryUsage().heapUsed);
  gauge(
    'nodejs_external_memory_bytes',
    'Memory outside the heap that V8 knows of, in bytes.',
    () => process.memoryUsage().external,
  );
}

/** Times between two ticks of a 10 ms timer since the last scrape; the last metric of the group starts afresh. */
function registerEventLoopLag(registry: Registry, delay: IntervalHistogram): void {
  const seconds = (nanoseconds: number): number => (delay.count === 0 ? 0 : nanoseconds / 1e9);
  const gauge = (name: string, help: string, read: () => number) =>
    registry.computed(
      'gauge',
      `nodejs_eventloop_lag_${name}seconds`,
      `${help} event loop delay since the last scrape, in seconds.`,
      read,
    );
  gauge('min_', 'Smallest', () => seconds(delay.min));
  gauge('mean_', 'Mean', () => seconds(delay.mean));
  gauge('stddev_', 'Standard deviation of the', () => seconds(delay.stddev));
  gauge('p50_', 'Median', () => seconds(delay.percentile(50)));
  gauge('p90_', '90th percentile of the', () => seconds(delay.percentile(90)));
  gauge('p99_', '99th percentile of the', () => seconds(delay.percentile(99)));
  gauge('max_', 'Largest', () => {
    const max = seconds(delay.max);
    delay.reset();
    return max;
  });
}
