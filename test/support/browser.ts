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
