// Looks at the status page as a person would, and prints what was seen as JSON. Judging it is the test's.
//
//   node status.mjs '{"browser": PATH, "url": URL, "token": TOKEN, "tenant": ID, "pictures": FOLDER or null}'
import { chromium } from 'playwright-core';

const { browser: executablePath, url, token, tenant, pictures } = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath,
  // The test may run as root. No name is ever looked up.
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
});

const seen = { requests: [], console: [], dialogs: [] };
async function person(options) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(20_000);
  context.on('request', (request) => seen.requests.push(request.url()));
  context.on('console', (message) => seen.console.push(`${message.type()}: ${message.text()}`));
  context.on('weberror', (error) => seen.console.push(`error: ${error.error()}`));
  context.on('dialog', async (dialog) => {
    seen.dialogs.push(dialog.message());
    await dialog.dismiss();
  });
  return context.newPage();
}

async function signIn(page) {
  await page.goto(url);
  const before = page.url();
  await page.getByLabel('Token of this server').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Tenants' }).waitFor();
  await page.getByRole('table').waitFor();
  return before;
}

const picture = (page, name) => (pictures ? page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true, caret: 'initial' }) : null);
const width = (page) => page.evaluate(() => document.documentElement.scrollWidth);
const background = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);

async function look() {
  const page = await person({ viewport: { width: 1280, height: 800 }, colorScheme: 'light' });
  seen.formAt = await signIn(page);
  seen.listAt = page.url();
  seen.cookies = await page.context().cookies();
  seen.titles = await page.getByRole('columnheader').allInnerTexts();
  seen.rows = await page.getByRole('rowheader').locator('a').allInnerTexts();
  seen.list = await page.getByRole('table').innerText();
  seen.problems = await page.getByRole('listitem').allInnerTexts();
  const row = page.getByRole('row').filter({ has: page.getByRole('link', { name: tenant, exact: true }) });
  const line = row.getByRole('img');
  seen.sparkline = {
    label: await line.getAttribute('aria-label'),
    bars: await line.locator('rect').count(),
    crosses: await line.locator('path').count(),
    heights: await line.locator('rect').evaluateAll((bars) => bars.map((bar) => bar.getBoundingClientRect().height)),
    box: await line.boundingBox(),
  };
  seen.scripts = await page.locator('script').count();
  seen.images = await page.locator('table img:not([role])').count();
  seen.hacked = await page.evaluate(() => globalThis.hacked ?? null);
  // A page that somebody managed to put a script into would still run none.
  seen.injected = await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'globalThis.injected = true';
    document.body.append(script);
    return globalThis.injected ?? null;
  });
  seen.light = await background(page);
  await picture(page, 'list-light');
  await page.emulateMedia({ colorScheme: 'dark' });
  seen.dark = await background(page);
  await picture(page, 'list-dark');

  seen.renews = await page.locator('meta[http-equiv=refresh]').count();
  await page.getByRole('link', { name: 'Stop renewing this page' }).click();
  await page.getByRole('link', { name: 'Renew this page' }).waitFor();
  seen.stopped = await page.locator('meta[http-equiv=refresh]').count();
  await page.getByLabel('Filter').fill(tenant);
  await page.getByLabel('Filter').press('Enter');
  await page.waitForURL(/q=/);
  seen.filtered = await page.getByRole('rowheader').locator('a').allInnerTexts();
  await page.getByRole('link', { name: tenant, exact: true }).click();
  await page.getByRole('heading', { name: tenant, exact: true }).waitFor();
  seen.history = await page.getByRole('table').innerText();
  await picture(page, 'tenant-dark');
  seen.hackedByHistory = await page.evaluate(() => globalThis.hacked ?? null);

  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Token of this server').waitFor();
  await page.goto(url);
  seen.afterwards = page.url();
  seen.cookiesAfterwards = await page.context().cookies();
}

async function lookOnPhone() {
  const page = await person({ viewport: { width: 375, height: 667 }, isMobile: true, hasTouch: true });
  await signIn(page);
  seen.phone = { list: await width(page), rows: await page.getByRole('row').count() };
  await picture(page, 'list-phone');
  await page.goto(`${url}tenants/${tenant}`);
  seen.phone.tenant = await width(page);
  seen.phone.cells = await page.getByRole('cell').count();
  await picture(page, 'tenant-phone');
}

async function lookWithoutScripts() {
  const page = await person({ javaScriptEnabled: false });
  await signIn(page);
  seen.withoutScripts = await page.getByRole('rowheader').locator('a').allInnerTexts();
}

try {
  await look();
  await lookOnPhone();
  await lookWithoutScripts();
} finally {
  await browser.close();
}
// That of the script above, which the browser did not run.
const isRefusal = (line) => /inline script/i.test(line) && /Content Security Policy/.test(line);
seen.refusals = seen.console.filter(isRefusal).length;
seen.console = seen.console.filter((line) => !isRefusal(line));
console.log(JSON.stringify(seen));
