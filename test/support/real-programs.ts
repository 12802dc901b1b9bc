/**
 * The real programs that journeys are shown with: where they are, and what a test does when one is missing.
 * Without them a test is skipped and says why; TIDEGAUGE_REQUIRE_PROGRAMS=1 turns a missing program into a failure.
 */
import { accessSync, constants } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { type Running, startProgram, type TemporaryFolder, temporaryFolder, waitForOutput } from './process.ts';

const START_MS_MAX = 20_000;
const LISTENING = /msg="Listening on" address=(\S+)/;

/** Path of an executable on PATH, or null. */
export function findProgram(name: string): string | null {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  return null;
}

/**
 * Why a test that needs these programs is skipped, or false when all are installed. Where programs are required it throws
 * instead, so that the test file fails.
 */
export function skipWithout(...names: readonly string[]): string | false {
  const missing = names.filter((name) => findProgram(name) === null);
  if (missing.length === 0) return false;
  const reason = `not installed: ${missing.join(', ')}`;
  if (process.env.TIDEGAUGE_REQUIRE_PROGRAMS === '1') throw new Error(`cannot run this journey: ${reason}`);
  return reason;
}

export interface Exporter extends Running {
  /** `host:port` it listens on. */
  readonly address: string;
}

/** prometheus-node-exporter on a free port. */
export async function startNodeExporter(): Promise<Exporter> {
  const program = await startProgram('prometheus-node-exporter', [
    '--web.listen-address=127.0.0.1:0',
    '--web.max-requests=0',
  ]);
  try {
    const listening = await waitForOutput(program, LISTENING, START_MS_MAX);
    return { ...program, address: listening[1]! };
  } catch (error) {
    await program.stop();
    throw error;
  }
}

export interface AgentOptions {
  /** `host:port` to scrape each second. */
  readonly target: string;
  readonly metricsPath?: string;
  /** Labels that every scraped series gets, beside job and instance. */
  readonly labels: Readonly<Record<string, string>>;
  readonly remoteWriteUrl: string;
  /** More of the remote_write section: authorization, tls_config. */
  readonly remoteWrite?: Readonly<Record<string, unknown>>;
}

/** Prometheus as an agent: it scrapes, and pushes what it scraped. `stop` also removes its folder. */
export async function startPrometheusAgent(options: AgentOptions): Promise<Running> {
  const folder = await temporaryFolder();
  try {
    const program = await startAgentIn(folder, options);
    const stop = async (): Promise<number | null> => {
      const code = await program.stop();
      await folder.remove();
      return code;
    };
    return { ...program, stop };
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

async function startAgentIn(folder: TemporaryFolder, options: AgentOptions): Promise<Running> {
  const configFile = join(folder.path, 'agent.yml');
  await writeFile(configFile, agentConfig(options));
  const program = await startProgram('prometheus', [
    '--enable-feature=agent',
    `--config.file=${configFile}`,
    `--storage.agent.path=${join(folder.path, 'wal')}`,
    '--web.listen-address=127.0.0.1:0',
  ]);
  try {
    await waitForOutput(program, LISTENING, START_MS_MAX);
    return program;
  } catch (error) {
    await program.stop();
    throw error;
  }
}

/**
 * JSON is YAML. Batches go out every half second instead of every five, so that a journey is short, and over one connection:
 * then the samples of a scrape arrive in the order in which they were exposed.
 */
function agentConfig(options: AgentOptions): string {
  return JSON.stringify({
    global: { scrape_interval: '1s', scrape_timeout: '1s' },
    scrape_configs: [
      {
        job_name: 'node',
        metrics_path: options.metricsPath ?? '/metrics',
        static_configs: [{ targets: [options.target], labels: options.labels }],
      },
    ],
    remote_write: [
      {
        url: options.remoteWriteUrl,
        queue_config: { batch_send_deadline: '500ms', max_shards: 1 },
        metadata_config: { send: true, send_interval: '5s' },
        ...options.remoteWrite,
      },
    ],
  });
}
