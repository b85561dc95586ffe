import './signInLink'
import { createApp, h } from 'vue'
import App from './App.vue'
import ErrorBoundary from './components/ErrorBoundary.vue'
import { reportErrors } from './failure'
import { t } from './preferences'
import { router } from './router'
import { start } from './session'
import './styles/tokens.css'
import './styles/base.css'

const app = createApp({ render: () => h(ErrorBoundary, { title: t('problem.error') }, () => h(App)) })
reportErrors(app, router)
app.use(router).mount('#app')
void start()
