// A headless Chromium that talks to nobody but us, and what goes wrong on its pages.

import { chromium } from 'playwright-core'

import { job } from '../job.mjs'

const WAIT_MS = 20_000

/** Open an empty page, let `work` use it, close everything. */
export async function withPage(work) {
  const browser = await chromium.launch({
    executablePath: job.chromium,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
    headless: true,
    timeout: WAIT_MS,
  })
  try {
    const page = await browser.newPage({ viewport: { width: 1000, height: 900 } })
    page.setDefaultTimeout(WAIT_MS)
    return await work(page)
  } finally {
    await browser.close()
  }
}

/** What a person with the developer tools open would see in red, as it happens. */
export function problemsOf(page) {
  const problems = []
  page.on('pageerror', (error) => problems.push(String(error)))
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text())
  })
  return problems
}

/** The requests of the page that the server under test has answered, as they are. */
export function exchangesOf(page, endpoint) {
  const exchanges = []
  page.on('response', (response) => {
    const request = response.request()
    if (!request.url().startsWith(endpoint)) return
    const { 'upload-offset': offset, 'upload-length': length } = request.headers()
    exchanges.push({ method: request.method(), status: response.status(), offset, length })
  })
  return exchanges
}
