// Uploads a file with the page of `tusd-s3 dev`, whose network is cut in the middle.
//
// Job: chromium, page (its URL), path (of the file), screenshots (folder), then: 'wait' (the page
// stays open), 'reopen' (it is closed while the network is away and opened again after) or
// 'reselect' (so too, and the browser has not kept the file). Says 'cut' when it has made use of
// the network being away, and waits for the test's word before and after that.

import { join } from 'node:path'

import { job, permission, run, say } from '../job.mjs'
import { exchangesOf, problemsOf, uppyFromPackage, withPage } from './browser.mjs'

const origin = new URL(job.page).origin

const FILE_INPUT = '.uppy-Dashboard-input >> nth=0'
// Where Uppy keeps files, and what it knows of them, for when the page is opened again.
const KEPT = { name: 'uppy-blobs', stores: ['files', 'metadata'] }
const LONG_MS = 40_000

await run(() =>
  withPage(async (page) => {
    const elsewhere = []
    await uppyFromPackage(page, job.page, elsewhere)
    const problems = problemsOf(page)
    const exchanges = exchangesOf(page, `${origin}/files/`)
    const shot = (name) => page.screenshot({ path: join(job.screenshots, `${name}.png`) })

    await page.goto(job.page)
    await page.locator(FILE_INPUT).waitFor({ state: 'attached' })
    await shot('empty')
    await page.setInputFiles(FILE_INPUT, job.path)
    await permission()

    await page.getByText(/^Uploading/).first().waitFor()
    await shot('cut')
    if (job.then !== 'wait') await leave(page)
    const before = exchanges.splice(0)
    say('cut')
    await permission()

    if (job.then !== 'wait') await page.goto(job.page)
    if (job.then === 'reselect') await selectAgain(page, shot)
    await page.locator('.uppy-StatusBar.is-complete').waitFor({ timeout: LONG_MS })
    await page.locator('#finished td.key').first().waitFor()
    await shot('complete')
    const finished = await page.locator('#finished tr').evaluateAll((rows) =>
      rows.map((row) => [...row.cells].map((cell) => cell.innerText)),
    )
    return { finished, before, after: exchanges, problems, elsewhere }
  }),
)

/** Close the page, once the browser keeps its file (and, to reselect it, then lose that). */
async function leave(page) {
  await page.waitForFunction(isKept, KEPT, { polling: 50 })
  if (job.then === 'reselect') await page.evaluate(lose, KEPT)
  await page.goto('about:blank')
}

/** Runs in the page: whether every store has something. */
async function isKept({ name, stores }) {
  const database = await new Promise((resolve, reject) => {
    const opening = indexedDB.open(name)
    opening.onsuccess = () => resolve(opening.result)
    opening.onerror = reject
  })
  const counts = await Promise.all(
    stores.map(
      (store) =>
        new Promise((resolve, reject) => {
          const counting = database.transaction(store).objectStore(store).count()
          counting.onsuccess = () => resolve(counting.result)
          counting.onerror = reject
        }),
    ),
  )
  database.close()
  return counts.every((count) => count > 0)
}

/** Runs in the page: drop the files, as a browser does that is short of space. */
function lose({ name, stores }) {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(name)
    opening.onerror = reject
    opening.onsuccess = () => {
      const change = opening.result.transaction(stores[0], 'readwrite')
      change.objectStore(stores[0]).clear()
      change.onerror = reject
      change.oncomplete = () => {
        opening.result.close()
        resolve()
      }
    }
  })
}

/** Uppy knows that there was a file, and asks for it. */
async function selectAgain(page, shot) {
  await page.locator('.uppy-Dashboard-Item.is-ghost').waitFor()
  await shot('ghost')
  await page.getByRole('button', { name: 'Re-select' }).click()
  await page.setInputFiles(FILE_INPUT, job.path)
  await page.getByRole('button', { name: 'Upload 1 file' }).click()
}
