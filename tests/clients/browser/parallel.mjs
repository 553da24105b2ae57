// Uploads a file with Uppy, in several partial uploads at once, from a page of another origin.
//
// Job: chromium, endpoint, path (of the file), metadata, options (of Uppy's Tus plugin).

import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

import { job, run } from '../job.mjs'
import { exchangesOf, problemsOf, withPage } from './browser.mjs'

const uppy = dirname(createRequire(import.meta.url).resolve('uppy/package.json'))
const PAGE = '<!doctype html><title>Parallel</title><input type="file"><script src="/uppy.js"></script>'

const pages = createServer((request, response) => {
  if (request.url === '/uppy.js') {
    response.setHeader('Content-Type', 'text/javascript')
    createReadStream(join(uppy, 'dist', 'uppy.min.js')).pipe(response)
  } else {
    response.setHeader('Content-Type', 'text/html')
    response.end(PAGE)
  }
})

await run(async () => {
  await new Promise((resolve) => pages.listen(0, '127.0.0.1', resolve))
  return withPage(async (page) => {
    const problems = problemsOf(page)
    const exchanges = exchangesOf(page, job.endpoint)
    await page.goto(`http://127.0.0.1:${pages.address().port}/`)
    await page.setInputFiles('input', job.path)
    const url = await page.evaluate(upload, job)
    return { url, exchanges, problems }
  })
})

/** Runs in the page: upload what the input holds; the final upload's URL. */
async function upload({ endpoint, metadata, options }) {
  const { Uppy, Tus } = window.Uppy
  const [data] = document.querySelector('input').files
  const uppy = new Uppy().use(Tus, { ...options, endpoint })
  uppy.addFile({ name: data.name, type: data.type, data, meta: metadata })
  const { successful, failed } = await uppy.upload()
  if (failed.length > 0) throw new Error(failed[0].error)
  return successful[0].uploadURL
}
