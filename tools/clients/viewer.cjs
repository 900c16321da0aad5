// OHIF in Chromium: its list, then a study. Writes what it asked for and what it showed. Arguments: ROOT STUDY FOLDER
const fs = require('fs');
const { chromium } = require('playwright-core');

async function main(root, study, folder) {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader',
      '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1'],
  });
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1400, height: 900 } });
  const page = await context.newPage();
  const asked = [];
  page.on('response', async response => {
    const request = response.request();
    if (request.url().includes('/dicom-web'))
      asked.push(`${response.status()} ${request.method()} ${request.url().replace(root, '')} ` +
        `Accept: ${(await request.allHeaders()).accept}`);
  });
  const said = [];
  page.on('requestfailed', request => said.push(`${request.url()} ${request.failure().errorText}`));
  page.on('pageerror', error => said.push(String(error)));
  page.on('console', message => message.type() === 'error' && said.push(message.text()));
  try {
    await look(page, root, study, folder);
  } catch (error) {
    await page.screenshot({ path: `${folder}/failed.png` });
    throw new Error([error.message, ...said, ...asked].join('\n'));
  } finally {
    await browser.close();
  }
  fs.writeFileSync(`${folder}/requests.txt`, asked.join('\n') + '\n');
  console.log(`${asked.length} requests`);
  console.log(asked.join('\n'));
  const wrong = asked.filter(line => !line.startsWith('2'));
  if (wrong.length) throw new Error(`not answered: ${wrong.join('; ')}`);
}

async function look(page, root, study, folder) {
  await page.goto(`${root}/`);
  await page.getByText('Client^Test').or(page.getByText('Client, Test')).first().waitFor({ timeout: 60000 });
  await page.screenshot({ path: `${folder}/list.png` });
  await page.goto(`${root}/viewer?StudyInstanceUIDs=${study}`);
  await page.waitForResponse(r => r.url().includes('/frames/') && r.status() === 200, { timeout: 60000 });
  await page.locator('canvas').first().waitFor({ timeout: 60000 });
  await page.waitForLoadState('networkidle');
  await page.waitForTimeout(3000);
  await page.screenshot({ path: `${folder}/study.png` });
}

main(...process.argv.slice(2)).catch(error => { console.error(error); process.exit(1); });
