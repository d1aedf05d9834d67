// Français.
import type { Words } from "./words.ts";

export const fr: Words = {
  tag: "fr",
  locale: "fr-FR",
  tagline: "La qualité de l’air, telle que mesurée",
  skipToContent: "Aller au contenu",
  navigation: "Principale",
  language: "Langue",

  stations: "Stations",
  about: "À propos",
  signIn: "Se connecter",
  allStations: "Toutes les stations",
  summary: (stations, reporting) =>
    `${stations} station${stations > 1 ? "s" : ""}, dont ${reporting} avec des valeurs de la dernière heure`,
  noStations: "Aucune station pour l’instant",
  noStationsHint:
    "Une station apparaît ici dès la première mesure de sa passerelle. Pour en inscrire une, sur le serveur : harmattan-hub gateway enrol NOM",
  noValues: "aucune valeur",
  nothingYet: "Cette station n’a encore rien envoyé.",
  moreValues: (count) => (count === 1 ? "1 autre valeur" : `${count} autres valeurs`),
  latestValues: "Dernières valeurs",

  value: "Valeur",
  parameter: "Paramètre",
  flag: "Qualité",
  measuredAt: "Mesuré",
  never: "jamais",
  now: "à l’instant",
  internal: "dans le boîtier",
  averagedOver: (span) => `moyenne sur ${span}`,
  flags: { 1: "bon", 2: "non évalué", 3: "suspect", 4: "invalide", 9: "manquant" },
  flagMeanings: {
    1: "A réussi tous les tests appliqués.",
    2: "Aucun test n’a été appliqué.",
    3: "Inhabituel : à examiner avant usage.",
    4: "A échoué à un test : ne pas utiliser. La valeur brute reste affichée.",
    9: "Le capteur n’a pas donné de valeur.",
  },
  parameters: {
    pm1_0: "PM1",
    pm2_5: "PM2,5",
    pm4_0: "PM4",
    pm10: "PM10",
    pm1_0_cf1: "PM1 (CF=1)",
    pm2_5_cf1: "PM2,5 (CF=1)",
    pm10_cf1: "PM10 (CF=1)",
    pm2_5_compensated: "PM2,5 compensée par le fabricant",
    pm2_5_corrected: "PM2,5 corrigée",
    n_gt_0_3um: "Particules > 0,3 µm",
    n_gt_0_5um: "Particules > 0,5 µm",
    n_gt_1_0um: "Particules > 1 µm",
    n_gt_2_5um: "Particules > 2,5 µm",
    n_gt_5_0um: "Particules > 5 µm",
    n_gt_10um: "Particules > 10 µm",
    co2: "CO₂",
    no2: "NO₂",
    o3: "O₃",
    so2: "SO₂",
    co: "CO",
    hcho: "Formaldéhyde",
    voc_index: "Indice COV",
    voc_raw: "Signal brut COV",
    nox_index: "Indice NOx",
    nox_raw: "Signal brut NOx",
    temperature: "Température",
    temperature_compensated: "Température compensée",
    temperature_internal: "Température du boîtier",
    relative_humidity: "Humidité relative",
    relative_humidity_compensated: "Humidité relative compensée",
    relative_humidity_internal: "Humidité relative du boîtier",
    pressure: "Pression de l’air",
    wind_speed: "Vitesse du vent",
    wind_direction: "Direction du vent",
    voltage: "Tension",
    current: "Courant",
    power_active: "Puissance active",
    energy_total: "Énergie totale",
    energy_import: "Énergie soutirée",
    energy_export: "Énergie injectée",
    frequency: "Fréquence",
    power_factor: "Facteur de puissance",
    battery_voltage: "Tension de la batterie",
    rssi: "Signal radio",
  },

  categories: {
    good: "Bon",
    moderate: "Modéré",
    unhealthy_for_sensitive_groups: "Mauvais pour les groupes sensibles",
    unhealthy: "Mauvais",
    very_unhealthy: "Très mauvais",
    hazardous: "Dangereux",
  },
  notEnoughData: "pas assez de données",
  nowcastOf: "NowCast horaire des PM2,5, US EPA",
  aqiNumber: "AQI",
  completeness: (percent) => `${percent} de ses heures sont là`,

  coordinates: "Coordonnées",
  altitude: "Altitude",
  timezone: "Fuseau horaire",
  profile: "Profil",
  firmware: "Micrologiciel",
  serial: "Numéro de série",
  caveats: "À garder à l’esprit",

  chart: "Évolution",
  range: "Période",
  hours: (count) => (count === 168 ? "7 jours" : count === 1 ? "1 heure" : `${count} heures`),
  loading: (percent) => `Chargement des mesures : ${percent}`,
  chartLabel: (parameter, sensor) => `${parameter} de ${sensor} au fil du temps`,
  count: (count, written) => `${written} mesure${count > 1 ? "s" : ""}`,
  lowest: "minimum",
  median: "médiane",
  highest: "maximum",
  gaps: (count, written) => `${written} lacune${count > 1 ? "s" : ""}`,
  suspects: (count, written) => `${written} suspecte${count > 1 ? "s" : ""}`,
  fails: (count, written) => `${written} invalide${count > 1 ? "s" : ""}`,
  nothingInRange: "Aucune mesure sur cette période.",

  live: "En direct",
  connecting: "Connexion",
  reconnecting: "Reconnexion",
  paused: "En pause",
  offline: "Hors ligne",
  liveExplained: {
    connecting: "Demande des valeurs en direct au serveur.",
    live: "Les nouvelles valeurs apparaissent d’elles-mêmes.",
    reconnecting: "Le serveur ne répond pas. Les dernières valeurs restent, avec leur âge ; la page réessaie d’elle-même.",
    paused: "Le direct est en pause tant que la page est cachée.",
    offline: "Cet appareil n’a pas de réseau. Les dernières valeurs restent, avec leur âge.",
  },

  notFound: "Introuvable",
  notFoundHint: "Il n’y a rien à cette adresse, ou ce n’est pas public. Toutes les stations publiques sont sur la première page.",
  tryAgain: "Réessayer",
  problemTitle: (status) =>
    status === 0
      ? "Le serveur est injoignable"
      : status === 404
        ? "Introuvable"
        : status === 429
          ? "Trop de demandes"
          : "Le serveur n’a pas pu répondre",
  problemHint: (status) =>
    status === 0
      ? "Vérifiez le réseau de cet appareil et que le serveur fonctionne. La page réessaie d’elle-même."
      : status === 404
        ? "Elle a peut-être été retirée, ou n’est pas publique. Allez à la liste des stations."
        : status === 429
          ? "Attendez une minute, puis réessayez."
          : status >= 500
            ? "En général cela passe. Sinon, l’exploitant du serveur en trouve la raison à /ready."
            : "Rechargez la page. Si cela persiste, prévenez l’exploitant du serveur.",
  keptValues: "Les valeurs ci-dessous sont les dernières reçues.",
};
