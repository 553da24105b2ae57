// Uploads from a page of another origin than the server's, with tus-js-client's browser build.
//
// Job: chromium, endpoint, length, source ('file' or 'stream'), options (tus-js-client's own).

import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

import { job, run } from '../job.mjs'
import { exchangesOf, problemsOf, withPage } from './browser.mjs'

const main = createRequire(import.meta.url).resolve('tus-js-client')
const bundle = join(dirname(main), '../../dist/tus.min.js')

// A server of its own: requests that Playwright answers would not be asked about in a preflight.
const pages = createServer((request, response) => {
  if (request.url === '/tus.js') {
    response.setHeader('Content-Type', 'text/javascript')
    createReadStream(bundle).pipe(response)
  } else {
    response.setHeader('Content-Type', 'text/html')
    response.end('<!doctype html><title>Another origin</title><script src="/tus.js"></script>')
  }
})

await run(async () => {
  await new Promise((resolve) => pages.listen(0, '127.0.0.1', resolve))
  return withPage(async (page) => {
    const problems = problemsOf(page)
    const exchanges = exchangesOf(page, job.endpoint)
    await page.goto(`http://127.0.0.1:${pages.address().port}/`)
    const uploaded = await page.evaluate(upload, job)
    return { ...uploaded, exchanges, problems, origin: new URL(page.url()).origin }
  })
})

/** Runs in the page: upload bytes that count 0, 1, …, 250, 0, …, and read the answers' headers. */
async function upload({ endpoint, length, source, options }) {
  const file = new File([Uint8Array.from({ length }, (_, i) => i % 251)], 'other.bin')
  const input = source === 'stream' ? file.stream().getReader() : file
  const answers = []
  return new Promise((resolve, reject) => {
    const upload = new window.tus.Upload(input, {
      ...options,
      endpoint,
      metadata: { filename: file.name },
      onAfterResponse(request, response) {
        const read = (name) => response.getHeader(name) ?? null
        answers.push({
          method: request.getMethod(),
          location: read('Location'),
          offset: read('Upload-Offset'),
        })
      },
      onError: reject,
      onSuccess: () => resolve({ url: upload.url, answers }),
    })
    upload.start()
  })
}
