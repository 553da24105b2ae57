// A headless Chromium that talks to nobody but us, and what goes wrong on its pages.

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'

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
    const context = await browser.newContext({ viewport: { width: 1000, height: 900 } })
    const page = await context.newPage()
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

/** The dev page loads Uppy from a CDN; Chromium checks what we answer against the page's hashes.
 * What it asks of anybody else is noted in `elsewhere`. */
export async function uppyFromPackage(page, home, elsewhere) {
  const { resolve } = createRequire(import.meta.url)
  const dist = join(dirname(resolve('uppy/package.json')), 'dist')
  const { version } = createRequire(import.meta.url)('uppy/package.json')
  await page.route(
    (url) => url.origin !== new URL(home).origin,
    async (route) => {
      const { pathname, href } = new URL(route.request().url())
      const path = join(dist, basename(pathname))
      if (!pathname.endsWith(`/uppy@${version}/dist/${basename(path)}`) || !existsSync(path)) {
        elsewhere.push(href)
        await route.abort()
        return
      }
      await route.fulfill({ path, headers: { 'Access-Control-Allow-Origin': '*' } })
    },
  )
}
