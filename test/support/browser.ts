/**
 * Debian's chromium without a screen, driven by playwright-core. What the page asks of other hosts, what its policy
 * forbids, and what it says on its console as an error, are noted.
 */
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { findProgram } from './real-programs.ts';

/** Where screenshots of a run are kept. */
export const ARTEFACTS = fileURLToPath(new URL('../../build/screenshots/', import.meta.url));

export async function openBrowser(): Promise<Browser> {
  mkdirSync(ARTEFACTS, { recursive: true });
  // The sandbox needs rights that a container does not give; only our own page is opened.
  return chromium.launch({ executablePath: findProgram('chromium')!, args: ['--no-sandbox'] });
}

export interface OpenPage {
  readonly page: Page;
  /** What went wrong so far, in words; empty if nothing did. */
  readonly faults: readonly string[];
}

export async function openPage(browser: Browser, web: string, options: BrowserContextOptions = {}): Promise<OpenPage> {
  const context = await browser.newContext({
    baseURL: `http://${web}`,
    viewport: { width: 1280, height: 900 },
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const faults: string[] = [];
  page.on('console', (message) => {
    // A path that is not there is looked for on purpose (does this daemon explain queries?).
    if (message.type() === 'error' && !/status of 404/.test(message.text())) faults.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => faults.push(`exception: ${error.message}`));
  page.on('request', (request) => {
    if (!request.url().startsWith(`http://${web}/`)) faults.push(`request to ${request.url()}`);
  });
  return { page, faults };
}

interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly args?: { readonly name?: string };
  /** Thread time of a task, microseconds: what the processor did for it, however many others wanted the processor. */
  readonly tdur?: number;
}

/** The longest task of a page's own thread while `act` goes on, in milliseconds of the processor. */
export async function longestTaskCpuMs(page: Page, act: () => Promise<void>): Promise<number> {
  const devtools = await page.context().newCDPSession(page);
  const events: TraceEvent[] = [];
  devtools.on('Tracing.dataCollected', ({ value }) => events.push(...(value as unknown as readonly TraceEvent[])));
  const categories = 'toplevel,disabled-by-default-devtools.timeline,__metadata';
  await devtools.send('Tracing.start', { transferMode: 'ReportEvents', categories });
  await act();
  const complete = new Promise((resolve) => devtools.once('Tracing.tracingComplete', resolve));
  await devtools.send('Tracing.end');
  await complete;
  await devtools.detach();
  const threadOf = ({ pid, tid }: TraceEvent): string => `${pid} ${tid}`;
  const own = new Set(
    events.filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain').map(threadOf),
  );
  const tasks = events.filter((event) => event.name === 'RunTask' && own.has(threadOf(event)));
  if (tasks.length === 0) throw new Error('cannot see the tasks of the page: the trace holds none');
  return Math.max(...tasks.map(({ tdur = 0 }) => tdur)) / 1000;
}
