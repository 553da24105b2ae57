// Uploads a file with the page of `tusd-s3 dev` in one tab, and watches it by the page's link in
// another, on a screen as narrow as a phone's.
//
// Job: chromium, page (its URL), path (of the file), screenshots (folder). Says 'watching' when the
// second tab shows the upload under way, and waits for the test's word after that.

import { join } from 'node:path'

import { job, permission, run, say } from '../job.mjs'
import { problemsOf, uppyFromPackage, withPage } from './browser.mjs'

const PHONE = { width: 360, height: 640 }

await run(() =>
  withPage(async (page) => {
    const elsewhere = []
    await uppyFromPackage(page, job.page, elsewhere)
    const problems = problemsOf(page)
    await page.goto(job.page)
    await page.locator('.uppy-Dashboard-input >> nth=0').waitFor({ state: 'attached' })
    await page.setInputFiles('.uppy-Dashboard-input >> nth=0', job.path)
    const link = page.locator('#links a').first()
    await link.waitFor()
    await page.screenshot({ path: join(job.screenshots, 'form.png'), fullPage: true })

    const other = await page.context().newPage()
    await uppyFromPackage(other, job.page, elsewhere)
    problems.push(...problemsOf(other))
    await other.setViewportSize(PHONE)
    const href = await link.getAttribute('href')
    await other.goto(href)
    const said = async () => ({
      name: await other.locator('#watch-name').innerText(),
      state: await other.locator('#watch-state').innerText(),
      figures: await other.locator('#watch-figures').innerText(),
      value: await other.locator('#watch-bar').evaluate((bar) => bar.value / bar.max),
    })
    await other.getByText(/ of .* · [1-9][0-9]? % · .*\/s/).waitFor()
    await other.screenshot({ path: join(job.screenshots, 'phone.png') })
    const during = await said()
    const width = await other.evaluate(() => document.documentElement.scrollWidth)
    say('watching', during)
    await permission()

    await other.getByText('Complete', { exact: true }).waitFor()
    await other.screenshot({ path: join(job.screenshots, 'phone-complete.png') })
    const after = await said()
    await other.setViewportSize({ width: 1000, height: 700 })
    await other.screenshot({ path: join(job.screenshots, 'desktop-complete.png') })
    await other.goto('about:blank')
    await other.goto(`${job.page}#${new URLSearchParams({ watch: 'https://evil.example/files/x', name: '<b>x' })}`)
    await other.getByText('does not name an upload').waitFor()
    const hostile = await other.locator('#watch-name').innerText()
    return { href, during, after, width, hostile, problems, elsewhere }
  }),
)
